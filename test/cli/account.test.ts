import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pebbleForTests } from '../helpers/pebble.ts';
import { set } from '../helpers/state/index.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { worldWith } from '../helpers/world.ts';
import { cli, linesOf } from './cli.ts';

const MAC = randomBytes(32).toString('base64url');

async function shop() {
  const pebble = await pebbleForTests({ eab: { 'kid-1': MAC } });
  const world = await worldWith(pebble);
  const folder = await testFolder('account-cli');
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const admin = await world.database.login('acme_admin');
  const env = { DATABASE_URL: admin.url, PGACME_SECRET_KEY: world.secretKey };
  const state = (name: string) =>
    world.sql<[{ state: string; reason_code: string | null }]>`
      select state, reason_code from acme.account_status where name = ${name}`;
  const reach = (name: string, wanted: string) =>
    until(
      async () => {
        const [row] = await state(name);
        if (row.state === wanted) return true;
        throw new Error(`it is ${row.state}: ${row.reason_code}`);
      },
      { what: `account ${name} is ${wanted}`, timeoutMs: 30_000 },
    );
  return { world, file, env, reach };
}

test('account create makes an account that a CA binds, and seal prints what SQL takes', async () => {
  const { world, file, env, reach } = await shop();
  await world.worker();
  const hmac = await file('hmac.txt', `${MAC}\n`);
  const create = [
    'account',
    'create',
    'bound',
    '--server',
    'ca',
    '--contact',
    'mailto:ops@example.org',
    '--agree-terms',
    '--eab-kid',
    'kid-1',
    '--eab-hmac-file',
    hmac,
  ];
  const made = await cli(create, env);
  expect(made, made.stderr).toMatchObject({ code: 0, stderr: '' });
  expect(made.stdout).toContain('Account bound is there');
  await reach('bound', 'valid');

  await reach('main', 'needs_person');
  const sealed = await cli(
    ['seal', '--for', 'account:main', '--server', 'ca', '--file', hmac],
    env,
  );
  expect(sealed, sealed.stderr).toMatchObject({ code: 0, stderr: '' });
  const jwe = linesOf(sealed.stdout)[0] ?? '';
  expect(sealed.stdout).not.toContain(MAC);
  await world.sql`
    update acme.account set eab_kid = 'kid-1', eab_hmac = ${jwe} where name = 'main'`;
  await reach('main', 'valid');
});

test('what cannot be a binding is a sentence that does not show the key', async () => {
  const { world, file, env } = await shop();
  const short = randomBytes(8).toString('base64url');
  const seal = async (text: string) =>
    cli(['seal', '--for', 'account:x', '--server', 'ca', '--file', await file('k', text)], env);
  const cases: [string, RegExp][] = [
    [short, /has 8 bytes and needs 32 or more/],
    ['not base64 at all!', /not base64url/],
    ['', /is empty/],
  ];
  for (const [text, sentence] of cases) {
    const { code, stdout, stderr } = await seal(text);
    expect(code, stderr).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toMatch(sentence);
    if (text !== '') expect(stderr).not.toContain(text);
  }
  const contact = (...contacts: string[]) =>
    cli(
      ['account', 'create', 'x', '--server', 'ca', ...contacts.flatMap((c) => ['--contact', c])],
      env,
    );
  for (const [refused, sentence] of [
    [
      await cli(
        // prettier-ignore
        ['account', 'create', 'x', '--server', 'ca', '--eab-kid', 'k', '--eab-hmac-file', await file('h', short)],
        env,
      ),
      /has 8 bytes and needs 32 or more/,
    ],
    [await contact('mailto:a@example.org?cc=b@example.org'), /no header fields/],
    [await contact('mailto:a@example.org,b@example.org'), /contact 'b@example.org' .* is a URL/],
  ] as const) {
    expect(refused, refused.stderr).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(sentence);
    expect(refused.stderr).not.toContain(short);
  }
  // Nothing came of it.
  expect(await world.sql`select name from acme.account`).toEqual([{ name: 'main' }]);
  const long = await cli(
    // prettier-ignore
    ['account', 'create', 'x', '--server', 'ca', '--eab-kid', 'k'.repeat(501), '--eab-hmac-file', await file('h', MAC)],
    env,
  );
  expect(long).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(
      '--eab-kid has 501 characters, and takes at most 500',
    ) as string,
  });
  const half = await cli(['account', 'create', 'x', '--server', 'ca', '--eab-kid', 'k'], env);
  expect(half).toMatchObject({ code: 2 });
  expect(half.stderr).toContain('belong together');
  for (const [name, sentence] of [
    ['X Y', '"X Y" cannot be the name of an account: give one of lower-case letters'],
    ['main', 'There is an account main already. Give this one another name.'],
  ] as const) {
    const named = await cli(['account', 'create', name, '--server', 'ca'], env);
    expect(named).toMatchObject({ code: 1, stdout: '' });
    expect(named.stderr).toContain(sentence);
    expect(named.stderr).not.toMatch(/constraint|PostgreSQL/);
  }
  const unknown = await cli(['account', 'create', 'x', '--server', 'nowhere'], env);
  expect(unknown.stderr).toContain('There is no server nowhere');
  const nobody = await cli(['seal', '--for', 'solver', '--server', 'ca'], env);
  expect(nobody).toMatchObject({ code: 2 });
});

test('the sealing key changes while a worker runs; what no key opens is named, and the rest is sealed', async () => {
  const { world, file, env, reach } = await shop();
  const hmac = await file('hmac.txt', MAC);
  const sealed = await cli(
    ['seal', '--for', 'account:main', '--server', 'ca', '--file', hmac],
    env,
  );
  await world.sql`
    update acme.account set eab_kid = 'kid-1', eab_hmac = ${linesOf(sealed.stdout)[0] ?? ''}`;
  const next = randomBytes(32).toString('base64');
  const both = await world.worker({ secretKey: `${world.secretKey} ${next}` });
  await reach('main', 'valid');
  const owner = {
    DATABASE_URL: world.database.url,
    PGACME_SECRET_KEY: `${next}\n${world.secretKey}`,
  };
  const done = await cli(['account', 'reseal'], owner);
  expect(done, done.stderr).toMatchObject({ code: 0, stderr: '' });
  expect(done.stdout).toBe('Sealed anew: 2. Sealed with the first key before: 0.\n');
  // Only the new key from here on.
  await both.stop();
  await world.worker({ secretKey: next });
  await world.sql`select acme.roll_over_key('main')`;
  await reach('main', 'valid');
  const third = randomBytes(32).toString('base64');
  const lost = await cli(['account', 'reseal'], { ...owner, PGACME_SECRET_KEY: third });
  expect(lost.code).toBe(1);
  expect(lost.stderr).toContain('of main was sealed with the secret key');
  expect(lost.stderr).not.toContain(next);
  // What a header says that no key of ours has proved is not repeated.
  const header = { alg: 'dir', enc: 'A256GCM', kid: 'x', purpose: '\u001b[31mred' };
  const forged = `${Buffer.from(JSON.stringify(header)).toString('base64url')}....`;
  await set(world.sql, 'account_key', { state: 'current' }, { jwe: forged });
  const said = await cli(['account', 'reseal'], owner);
  expect(said.code).toBe(1);
  expect(said.stderr).toMatch(
    /^The account-key of main was sealed with the secret key x, [\n -~]+$/,
  );
});
