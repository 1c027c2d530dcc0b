#!/usr/bin/env node
import { main } from './cli/main.ts';
import { standardOutput } from './cli/output.ts';

// The code is set and not exited with: whatever is still open then shows as a process that stays.
process.exitCode = await main(process.argv.slice(2), process.env, standardOutput());
