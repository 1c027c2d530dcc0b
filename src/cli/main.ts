import { version } from '../version.ts';
import { type Command, type ExitCode, UsageError } from './command.ts';
import { commands } from './commands.ts';
import type { Output } from './output.ts';
import { readArguments } from './read-arguments.ts';
import { errorSentence, reportError } from './report-error.ts';
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
    const { words, rest } = split(args, at);
    const before = flagsBefore(at === -1 ? args : args.slice(0, at));
    if (before.has('version')) {
      output.line(version);
      return 0;
    }
    const wantsHelp = before.has('help') || rest.includes('--help') || rest.includes('-h');
    if (words.length === 0 || words[0] === 'help') {
      return await showHelp(words.slice(1), words[0] === 'help' || wantsHelp, output);
    }
    const group = groupOf(words);
    if (group.length > 0) return await showGroup(words.join(' '), group, wantsHelp, output);
    command = find(words);
    if (wantsHelp) {
      output.line(help(command));
      return 0;
    }
    const given = readArguments(command, rest);
    return await command.run({ ...given, env, output });
  } catch (error) {
    const end = command?.failed?.(args, errorSentence(error, command, env));
    if (end !== undefined) {
      output.line(end.line);
      return end.code;
    }
    return reportError(error, { command, env, output, isVerbose: args.includes('--verbose') });
  }
}

/** The words that name a command, one or two of them, and what follows. */
function split(args: readonly string[], at: number): { words: string[]; rest: readonly string[] } {
  if (at === -1) return { words: [], rest: [] };
  const first = args[at] ?? '';
  const second = args[at + 1];
  const isPair = first === 'help' || commands.some(({ name }) => name.startsWith(`${first} `));
  if (!isPair || second === undefined || second.startsWith('-')) {
    return { words: [first], rest: args.slice(at + 1) };
  }
  const third = args[at + 2];
  if (first === 'help' && third !== undefined && !third.startsWith('-')) {
    return { words: [first, second, third], rest: args.slice(at + 3) };
  }
  return { words: [first, second], rest: args.slice(at + 2) };
}

function flagsBefore(args: readonly string[]): ReadonlySet<string> {
  const known = [...Object.keys(commonFlags), 'version'];
  const unknown = args.find((arg) => arg !== '-h' && !known.includes(arg.replace(/^--/, '')));
  if (unknown !== undefined) {
    throw new UsageError(`pgacme does not understand ${JSON.stringify(unknown)}.`, usageLine());
  }
  return new Set(args.map((arg) => (arg === '-h' ? 'help' : arg.slice(2))));
}

async function showHelp(
  about: readonly string[],
  isAsked: boolean,
  output: Output,
): Promise<ExitCode> {
  if (about.length > 0) {
    const group = groupOf(about);
    output.line(group.length > 0 ? await overview(group) : help(find(about)));
    return 0;
  }
  if (!isAsked) {
    output.error(await overview(commands));
    return 2;
  }
  output.line(await overview(commands));
  return 0;
}

/** `pgacme account` alone: what there is. */
async function showGroup(
  word: string,
  group: readonly Command[],
  isAsked: boolean,
  output: Output,
): Promise<ExitCode> {
  if (!isAsked) {
    throw new UsageError(
      `pgacme ${word} needs one of: ${group.map(({ name }) => name.slice(word.length + 1)).join(', ')}.`,
      usageLine(),
    );
  }
  output.line(await overview(group));
  return 0;
}

/** The commands whose name begins with this one word; none where it is a command itself. */
function groupOf(words: readonly string[]): readonly Command[] {
  if (words.length !== 1) return [];
  return commands.filter(({ name }) => name.startsWith(`${words[0] ?? ''} `));
}

function find(words: readonly string[]): Command {
  const name = words.join(' ');
  const command = commands.find((each) => each.name === name);
  if (command !== undefined) return command;
  throw new UsageError(`There is no command ${JSON.stringify(name)}.`, usageLine());
}
