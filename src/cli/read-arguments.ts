import { parseArgs } from 'node:util';
import { type Command, type Invocation, UsageError } from './command.ts';
import { commonFlags, usageLine } from './usage.ts';

/**
 * Reads what follows a command's name.
 *
 * @throws UsageError for what the command does not know, and for what it needs and did not get.
 */
export function readArguments(
  command: Command,
  args: readonly string[],
): Pick<Invocation, 'flags' | 'options' | 'args'> {
  const { values, positionals } = parse(command, args);
  const flags = new Set<string>();
  const options = new Map<string, string>();
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === 'string') options.set(name, value);
    else flags.add(name);
  }
  const takes = command.args ?? [];
  const surplus = positionals[takes.length];
  if (surplus !== undefined) {
    throw misuse(command, `does not understand ${JSON.stringify(surplus)}`);
  }
  const missing = takes.slice(positionals.length).find((arg) => !arg.startsWith('['));
  if (missing !== undefined) throw misuse(command, `needs ${missing}`);
  // A variable that is not set: as a path it would be the current folder.
  const empty = takes[positionals.indexOf('')];
  if (empty !== undefined) throw misuse(command, `needs ${empty}, and not an empty one`);
  for (const [name, { value, isRequired }] of Object.entries(command.options ?? {})) {
    if (isRequired === true && !options.has(name)) {
      throw misuse(command, `needs --${name} ${value}`);
    }
    if (options.get(name) === '') throw misuse(command, `needs ${value} after --${name}`);
  }
  return { flags, options, args: positionals };
}

function parse(command: Command, args: readonly string[]) {
  const flags = [...Object.keys(command.flags), ...Object.keys(commonFlags)];
  try {
    return parseArgs({
      args: [...args],
      options: {
        ...Object.fromEntries(flags.map((name) => [name, { type: 'boolean' }] as const)),
        ...Object.fromEntries(
          Object.keys(command.options ?? {}).map((name) => [name, { type: 'string' }] as const),
        ),
      },
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    const bare = /'--([^' ]+)/.exec(error instanceof Error ? error.message : '')?.[1];
    const option = command.options?.[bare ?? ''];
    throw misuse(
      command,
      option === undefined
        ? `does not understand ${offender(error)}`
        : `needs ${option.value} after --${bare}`,
    );
  }
}

function misuse(command: Command, what: string): UsageError {
  return new UsageError(`pgacme ${command.name} ${what}.`, usageLine(command));
}

/** The argument that parseArgs stumbled over: its messages quote it first. */
function offender(error: unknown): string {
  const quoted = /'([^']*)'/.exec(error instanceof Error ? error.message : '')?.[1];
  return quoted === undefined ? 'its arguments' : JSON.stringify(quoted);
}
