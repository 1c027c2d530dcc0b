import { version } from '../version.ts';
import type { Command } from './command.ts';
import { table } from './table.ts';

/** Flags that every command has, and what they do. */
export const commonFlags: Readonly<Record<string, string>> = {
  help: 'show this and end',
  verbose: 'show the stack of an error, too',
};

const LINE = 110;
/** Said where the commands that start a PostgreSQL of their own are not listed. */
const CHECKOUT = `
To try pgacme without a database, use a checkout of it: npm ci && npm start.
`;

/** The one line that says how pgacme, or one of its commands, is called. */
export function usageLine(command?: Command): string {
  if (command === undefined) return 'Usage: pgacme COMMAND [OPTION]... (pgacme --help lists them)';
  const args = (command.args ?? []).map((arg) => ` ${arg}`);
  const options = Object.entries(command.options ?? {});
  const needed = options.flatMap(([name, { value, isRequired }]) =>
    isRequired === true ? [` --${name} ${value}`] : [],
  );
  const optional = [
    ...options.flatMap(([name, { value, isRequired }]) =>
      isRequired === true ? [] : [` [--${name} ${value}]`],
    ),
    ...Object.keys(command.flags).map((flag) => ` [--${flag}]`),
  ];
  const line = (rest: string[]) =>
    `Usage: pgacme ${[command.name, ...args, ...needed, ...rest].join('')} [--verbose]`;
  // What does not fit a line is told below it.
  return line(optional).length <= LINE ? line(optional) : line([' [OPTION]...']);
}

/** What `pgacme --help` prints: the commands that can run here, and where the others can. */
export async function overview(commands: readonly Command[]): Promise<string> {
  const checked = await Promise.all(
    commands.map(async (command) => ((await command.isAvailable?.()) === false ? [] : [command])),
  );
  const available = checked.flat();
  return `pgacme ${version}: insert a certificate signing request into PostgreSQL, read the certificate back.

Usage: pgacme COMMAND [OPTION]...

${table(available.map(({ name, summary }) => [name, summary])).join('\n')}

  pgacme COMMAND --help   tells more about one, with examples
  pgacme --version        prints the version
${available.length < commands.length ? CHECKOUT : ''}
Exit codes: 0 done, 1 failed, 2 used wrongly.

Example:
  DATABASE_URL=postgres://user@host/shop pgacme migrate`;
}

/** What `pgacme COMMAND --help` prints. */
export function help(command: Command): string {
  const options = Object.entries(command.options ?? {}).map(([name, { value, text }]) => [
    `--${name} ${value}`,
    text,
  ]);
  const flags = Object.entries({ ...command.flags, ...commonFlags }).map(([flag, text]) => [
    `--${flag}`,
    text,
  ]);
  return `${usageLine(command)}

${command.help}

Options:
${table([...options, ...flags]).join('\n')}`;
}
