import { parseArgs } from 'node:util';
import { version } from '../version.ts';
import { type Command, type ExitCode, UsageError } from './command.ts';
import { commands } from './commands.ts';
import type { Output } from './output.ts';
import { reportError } from './report-error.ts';
import { commonFlags, help, overview, usageLine } from './usage.ts';

/** Runs the command line; `args` without node and the file. Never throws: errors are on stderr. */
export async function main(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  output: Output,
): Promise<ExitCode> {
  let command: Command | undefined;
  try {
    const at = args.findIndex((arg) => !arg.startsWith('-'));
    const before = readFlags(
      at === -1 ? args : args.slice(0, at),
      [...Object.keys(commonFlags), 'version'],
      undefined,
    );
    if (before.has('version')) {
      output.line(version);
      return 0;
    }
    const name = at === -1 ? undefined : args[at];
    if (name === undefined || name === 'help') return showHelp(args[at + 1], before, output, name);
    command = find(name);
    const flags = readFlags(
      args.slice(at + 1),
      [...Object.keys(command.flags), ...Object.keys(commonFlags)],
      command,
    );
    if (flags.has('help') || before.has('help')) {
      output.line(help(command));
      return 0;
    }
    return await command.run({ flags, env, output });
  } catch (error) {
    return reportError(error, { command, env, output, isVerbose: args.includes('--verbose') });
  }
}

function showHelp(
  about: string | undefined,
  before: ReadonlySet<string>,
  output: Output,
  asked: string | undefined,
): ExitCode {
  if (asked !== undefined && about !== undefined && about !== '--help') {
    output.line(help(find(about)));
    return 0;
  }
  if (asked === undefined && !before.has('help')) {
    output.error(overview(commands));
    return 2;
  }
  output.line(overview(commands));
  return 0;
}

function find(name: string): Command {
  const command = commands.find((each) => each.name === name);
  if (command !== undefined) return command;
  throw new UsageError(`There is no command ${JSON.stringify(name)}.`, usageLine());
}

function readFlags(
  args: readonly string[],
  known: readonly string[],
  command: Command | undefined,
): ReadonlySet<string> {
  const options = Object.fromEntries(
    known.map(
      (name) => [name, { type: 'boolean', ...(name === 'help' ? { short: 'h' } : {}) }] as const,
    ),
  );
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true });
    return new Set(Object.keys(values));
  } catch (error) {
    const whose = command === undefined ? 'pgacme' : `pgacme ${command.name}`;
    throw new UsageError(`${whose} does not understand ${offender(error)}.`, usageLine(command));
  }
}

/** The argument that parseArgs stumbled over: its messages quote it first. */
function offender(error: unknown): string {
  const quoted = /'([^']*)'/.exec(error instanceof Error ? error.message : '')?.[1];
  return quoted === undefined ? 'its arguments' : JSON.stringify(quoted);
}
