import { accountCreateCommand } from './account/create.ts';
import { accountExportCommand } from './account/export.ts';
import { accountImportCommand } from './account/import.ts';
import { accountOrdersCommand } from './account/orders.ts';
import { accountResealCommand } from './account/reseal.ts';
import { adoptCommand } from './adopt.ts';
import { adoptDatabaseCommand } from './adopt-database.ts';
import type { Command } from './command.ts';
import { doctorCommand } from './doctor.ts';
import { migrateCommand } from './migrate.ts';
import { quickstartCommand } from './quickstart.ts';
import { revokeCommand } from './revoke.ts';
import { sandboxCommand } from './sandbox.ts';
import { sealCommand } from './seal.ts';
import { serverProbeCommand } from './server/probe.ts';
import { statusCommand } from './status.ts';
import { workerCommand } from './worker.ts';

/** All commands, in the order of the overview. What they need is loaded when they run. */
export const commands: readonly Command[] = [
  quickstartCommand,
  sandboxCommand,
  migrateCommand,
  workerCommand,
  statusCommand,
  accountCreateCommand,
  accountExportCommand,
  accountImportCommand,
  accountOrdersCommand,
  accountResealCommand,
  revokeCommand,
  sealCommand,
  adoptCommand,
  serverProbeCommand,
  adoptDatabaseCommand,
  doctorCommand,
];
