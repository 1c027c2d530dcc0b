import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { main } from '../../src/cli/main.ts';
import { cli, linesOf } from './cli.ts';

const COMMANDS = commands.map(({ name }) => name);

/** The command line in this process, which is as good as one of its own where only text is looked at. */
async function here(args: readonly string[]) {
  const lines = { stdout: '', stderr: '' };
  const code = await main(
    args,
    {},
    {
      line: (text = '') => void (lines.stdout += `${text}\n`),
      error: (text) => void (lines.stderr += `${text}\n`),
      progress: () => undefined,
      terminal: undefined,
      gone: new AbortController().signal,
    },
  );
  return { code, ...lines };
}

test('--version prints the version of package.json alone', async () => {
  const manifest: unknown = JSON.parse(
    await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  const { version } = manifest as { version: string };
  expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

test('--help lists every command and the exit codes', async () => {
  const printed = await cli(['--help']);
  expect(printed).toMatchObject({ code: 0, stderr: '' });
  for (const command of COMMANDS) {
    expect(printed.stdout).toMatch(new RegExp(`^  ${command} +\\w`, 'm'));
  }
  expect(printed.stdout).toContain('0 done, 1 failed, 2 used wrongly');
  expect(printed.stdout).not.toContain('npm start');
  for (const args of [['--help'], ['-h'], ['help']]) expect(await here(args)).toEqual(printed);
});

test('--help of each command has its usage, its options and examples, and needs no database', async () => {
  for (const command of COMMANDS) {
    const { code, stdout, stderr } = await here([...command.split(' '), '--help']);
    expect({ code, stderr }, command).toEqual({ code: 0, stderr: '' });
    expect(linesOf(stdout)[0]).toMatch(new RegExp(`^Usage: pgacme ${command} `));
    expect(stdout).toMatch(/^Examples:\n {2}\S/m);
    expect(stdout).toMatch(/^ {2}--verbose +\w/m);
    // Fits a terminal of 110 columns.
    for (const line of linesOf(stdout)) expect(line.length, line).toBeLessThanOrEqual(110);
    expect(await here(['help', ...command.split(' ')]), command).toEqual({ code, stdout, stderr });
  }
  const printed = await cli(['quickstart', '--help']);
  expect(printed).toEqual(await here(['quickstart', '--help']));
  expect(printed.stdout).toMatch(/^ {2}--once +\w/m);
});

test('what is used wrongly ends with 2, a sentence and the usage line on stderr', async () => {
  const wrong: [string[], string, string][] = [
    [['isue'], 'There is no command "isue".', 'Usage: pgacme COMMAND'],
    [['help', 'isue'], 'There is no command "isue".', 'Usage: pgacme COMMAND'],
    [
      ['migrate', '--drop'],
      'pgacme migrate does not understand "--drop".',
      'Usage: pgacme migrate',
    ],
    [['worker', 'now'], 'pgacme worker does not understand "now".', 'Usage: pgacme worker'],
    [
      ['quickstart', '--once=3'],
      'pgacme quickstart does not understand "',
      'Usage: pgacme quickstart [--once]',
    ],
    [['--drop'], 'pgacme does not understand "--drop".', 'Usage: pgacme COMMAND'],
    [
      ['account'],
      'pgacme account needs one of: create, export, import, orders, reseal',
      'Usage: pgacme COMMAND',
    ],
    [['account', 'drop'], 'There is no command "account drop".', 'Usage: pgacme COMMAND'],
    [
      ['account', 'create'],
      'pgacme account create needs NAME.',
      'Usage: pgacme account create NAME',
    ],
    [['account', 'create', 'main'], 'needs --server SERVER', 'Usage: pgacme account create NAME'],
    [['seal', '--for'], 'pgacme seal needs account:NAME after --for.', 'Usage: pgacme seal --for'],
    [
      ['seal', '--for', '--server', 'x'],
      'pgacme seal needs account:NAME after --for.',
      'Usage: pgacme seal --for',
    ],
    [['adopt', 'x', '--tenant'], 'pgacme adopt needs NAME after --tenant.', 'Usage: pgacme adopt'],
    [
      ['adopt', 'x', '--tenant', ''],
      'pgacme adopt needs NAME after --tenant.',
      'Usage: pgacme adopt',
    ],
    [
      ['sandbox', '--pebble-port', '70000'],
      '--pebble-port is "70000", and takes a number from 1 to 65535.',
      'Usage: pgacme sandbox',
    ],
    // A variable that is not set must not mean the current folder.
    [['adopt', ''], 'pgacme adopt needs DIR, and not an empty one.', 'Usage: pgacme adopt DIR'],
    [
      ['account', 'import', ''],
      'pgacme account import needs FILE, and not an empty one.',
      'Usage: pgacme account import FILE',
    ],
  ];
  for (const [args, sentence, usage] of wrong) {
    const { code, stdout, stderr } = await here(args);
    const [first = '', second = '', ...more] = linesOf(stderr);
    expect({ code, stdout, more }, args.join(' ')).toEqual({ code: 2, stdout: '', more: [] });
    expect(first).toContain(sentence);
    expect(second).toContain(usage);
  }
  const unknown = await cli(['isue']);
  expect(unknown).toEqual(await here(['isue']));
  const nothing = await cli([]);
  expect(nothing).toMatchObject({ code: 2, stdout: '' });
  expect(nothing.stderr).toContain('Usage: pgacme COMMAND');
});

test('a stack is shown only with --verbose', async () => {
  const env = { DATABASE_URL: 'postgres://app@127.0.0.1:1/shop' };
  const plain = await cli(['status'], env);
  expect(linesOf(plain.stderr)).toHaveLength(1);
  const verbose = await cli(['status', '--verbose'], env);
  expect(verbose.stderr).toMatch(/^ +at /m);
});
