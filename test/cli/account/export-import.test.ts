import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openAccountFile } from '../../../src/account-file/index.ts';
import { makeLogger } from '../../../src/log.ts';
import { startWorker } from '../../../src/worker.ts';
import { makeCsr } from '../../../src/x509/index.ts';
import { accountId, addAccountKey, all, set, withoutTriggers } from '../../helpers/state/index.ts';
import { until } from '../../helpers/until.ts';
import { freshName, pebbleWorld } from '../../helpers/world.ts';
import { cli, linesOf } from '../cli.ts';
import { exportOf, passphrase, registered, target } from './transfer.ts';

test('an account that was registered here goes on in another database, under another sealing key', async () => {
  const from = await pebbleWorld();
  const worker = await from.worker();
  await until(
    async () => {
      const [row] = await from.sql<{ state: string }[]>`select state from acme.account_status`;
      return row?.state === 'valid';
    },
    { what: 'the account is registered', timeoutMs: 20_000 },
  );
  await worker.stop();
  await from.sql`update acme.server set allowed_hosts = '{ca2.example.org}' where name = 'ca'`;
  const [before] = await from.sql<[{ url: string; thumbprint: string; jwe: string }]>`
    select s.url, k.thumbprint, k.jwe
      from acme_private.account_state s
      join acme_private.account_key k using (account_id)`;

  const to = await target();
  const file = join(to.folder, 'main.json');
  const owner = await from.database.login('acme_owner');
  const exporting = { DATABASE_URL: owner.url, PGACME_SECRET_KEY: from.secretKey };
  const options = ['--out', file, '--passphrase-file', to.passphraseFile];
  const written = await cli(['account', 'export', 'main', ...options], exporting);
  expect(written).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(written.stdout)).toEqual([
    `Account main is in ${file}.`,
    'Whoever has the file and its passphrase can issue certificates with this account.',
  ]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const account = await openAccountFile(await readFile(file, 'utf8'), passphrase);
  expect(account).toMatchObject({
    server: {
      name: 'ca',
      directoryUrl: from.pebble.directoryUrl,
      caBundle: from.pebble.caPem,
      allowedHosts: ['ca2.example.org'],
    },
    name: 'main',
    url: before.url,
    thumbprint: before.thumbprint,
    contact: ['mailto:ops@example.org'],
    termsAgreed: true,
  });
  for (const record of account.records) expect(record).toContain(`accounturi=${before.url}`);
  expect(
    await from.sql`select event, detail ->> 'by' as by from acme.event where event = 'account_exported'`,
  ).toEqual([{ event: 'account_exported', by: owner.role }]);
  const again = await cli(['account', 'export', 'main', ...options], exporting);
  expect(again).toMatchObject({ code: 1, stdout: '' });
  expect(again.stderr).toContain(`${file} is there already, and nothing is written over it.`);

  const elsewhere = await cli(
    ['account', 'export', 'main', '--out', `${file}.2`, ...options.slice(2)],
    { ...exporting, PGACME_SECRET_KEY: to.secretKey },
  );
  expect(elsewhere).toMatchObject({ code: 1, stdout: '' });
  expect(elsewhere.stderr).toMatch(
    /was sealed with the secret key [\w-]+, and PGACME_SECRET_KEY here has [\w-]+\. Give the PGACME_SECRET_KEY that was used before\./,
  );
  await expect(stat(`${file}.2`)).rejects.toMatchObject({ code: 'ENOENT' });

  const importing = await to.database.login('acme_owner');
  const read = await cli(['account', 'import', file, '--passphrase-file', to.passphraseFile], {
    DATABASE_URL: importing.url,
    PGACME_SECRET_KEY: to.secretKey,
  });
  expect(read).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(read.stdout)).toEqual([
    `Read an export of pgacme from ${account.exportedAt}, ${before.url}`,
    `Server ca, ${from.pebble.directoryUrl}: inserted`,
    'Its HTTPS is trusted by the CA bundle that came with the file.',
    'Its URLs may also name these hosts, which came with the file: ca2.example.org',
    `The key is the live one of ${before.url}, which is valid.`,
    ...account.records.map((record) => `In DNS, to stay while this account issues: ${record}`),
    'Account main is there, and csrs can use it.',
  ]);
  const [after] = await to.database.sql<Record<string, unknown>[]>`
    select s.state, s.url, s.thumbprint, s.verified_at is not null as is_verified, a.contact, a.is_default,
           a.key_algorithm, v.ca_bundle, v.allowed_hosts, k.jwe = ${before.jwe} as is_same_jwe
      from acme.account a
      join acme_private.account_state s on s.account_id = a.id
      join acme_private.account_key k on k.account_id = a.id
      join acme.server v on v.name = a.server`;
  expect(after).toEqual({
    state: 'valid',
    url: before.url,
    thumbprint: before.thumbprint,
    is_verified: true,
    contact: ['mailto:ops@example.org'],
    is_default: true,
    key_algorithm: 'ES256',
    ca_bundle: from.pebble.caPem,
    allowed_hosts: ['ca2.example.org'],
    is_same_jwe: false,
  });
  expect(
    await to.database.sql`select event, detail ->> 'client' as client from acme.event`,
  ).toEqual([{ event: 'account_imported', client: 'pgacme' }]);

  // The proof of it: a certificate, by a worker that has only the new database and its key.
  const login = await to.database.login('acme_worker');
  const next = await startWorker({
    databaseUrl: login.url,
    secretKey: to.secretKey,
    http01Listen: { host: '127.0.0.1', port: from.pebble.httpPort },
    log: makeLogger('silent'),
  });
  onTestFinished(() => next.stop());
  const { pem } = await makeCsr({ names: [freshName()] });
  const [csr] = await to.database.sql<[{ id: string }]>`
    insert into acme.csr (pem) values (${pem}) returning id`;
  const issued = await until(
    async () => {
      const [row] = await to.database.sql<{ state: string; account: string }[]>`
        select state, account from acme.csr_status where id = ${csr.id}`;
      return row?.state === 'issued' && row;
    },
    { what: 'a certificate with the imported account', timeoutMs: 30_000 },
  );
  expect(issued).toEqual({ state: 'issued', account: 'main' });
  expect(
    await to.database.sql`select count(*)::int from acme.event where event = 'account_registered'`,
  ).toEqual([{ count: 0 }]);
}, 120_000);

test('an account that is not registered, unknown, rolling over or held elsewhere is not exported, and no file is left', async () => {
  const to = await target();
  const { sql } = to.database;
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  const file = join(to.folder, 'main.json');
  const options = ['--out', file, '--passphrase-file', to.passphraseFile];
  const refused: [string[], RegExp][] = [
    [['main', ...options], /The account main is new: there is nothing to export/],
    [['other', ...options], /There is no account 'other'/],
  ];
  for (const [args, sentence] of refused) {
    const { code, stdout, stderr } = await to.run('account', 'export', ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(sentence);
    await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
  }
  // As a key that a KMS holds is stored, and as a roll-over under way looks.
  const id = await accountId(sql);
  await withoutTriggers(sql, async (tx) => {
    await set(tx, 'account', all, { state: 'valid', url: 'https://ca.example.org/acct/1' });
    await addAccountKey(tx, id, 'a', { jwe: 'kms:1' });
  });
  const elsewhere = await to.run('account', 'export', 'main', ...options);
  expect(elsewhere.stderr).toContain('is not in the database (a KMS or HSM holds it)');
  await addAccountKey(sql, id, 'b', { jwe: 'kms:2', state: 'pending' });
  const rolling = await to.run('account', 'export', 'main', ...options);
  expect(await sql`select event from acme.event where event = 'account_exported'`).toEqual([]);
  expect(rolling.stderr).toContain(
    'is rolling over its key, and the file would hold one that is dead soon',
  );
  await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a key that is dead is written as an archive, and said to be dead', async () => {
  const to = await target();
  const pass = ['--passphrase-file', to.passphraseFile];
  const file = await exportOf(to, await registered(to.pebble));
  expect(await to.run('account', 'import', file, ...pass)).toMatchObject({ code: 0 });
  for (const [state, reason, sentence] of [
    [
      'deactivated',
      null,
      'The account main is deactivated, for good: the server takes nothing that its key signs.',
    ],
    [
      'revoked',
      null,
      'The account main is revoked, for good: the server takes nothing that its key signs.',
    ],
    [
      'valid',
      'account_key_unknown',
      'The server has no account for the key of main (account_key_unknown): it was replaced elsewhere, or the server has lost it.',
    ],
  ] as const) {
    await withoutTriggers(to.database.sql, async (tx) => {
      await set(tx, 'account', all, { state, reason_code: reason });
    });
    const out = join(to.folder, `${state}.json`);
    const { code, stdout, stderr } = await to.run(
      'account',
      'export',
      'main',
      '--out',
      out,
      ...pass,
    );
    expect({ code, stdout }, state).toEqual({ code: 0, stdout: `Account main is in ${out}.\n` });
    expect(stderr).toBe(
      `${sentence} The file is an archive, and pgacme account import refuses it.\n`,
    );
    expect(await openAccountFile(await readFile(out, 'utf8'), passphrase)).toMatchObject({
      name: 'main',
    });
  }
});

test('nor is one whose roll-over waits for its orders, before there is another key', async () => {
  const world = await pebbleWorld();
  await world.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{*}')`;
  await world.worker();
  const csr = await world.insert({ names: [freshName()] }, { solver: 'by-hand' });
  await until(async () => (await world.status(csr)).reason_code === 'waiting_for_publication', {
    what: 'its order waits for a person',
    timeoutMs: 20_000,
  });
  await world.sql`select acme.roll_over_key('main')`;
  await until(
    async () =>
      (await world.sql`select from acme.account_status where reason_code = 'waiting_for_orders'`)
        .length === 1,
    { what: 'the roll-over waits for the order', timeoutMs: 20_000 },
  );
  const to = await target();
  const file = join(to.folder, 'main.json');
  const { url } = await world.database.login('acme_owner');
  const { code, stdout, stderr } = await cli(
    ['account', 'export', 'main', '--out', file, '--passphrase-file', to.passphraseFile],
    { DATABASE_URL: url, PGACME_SECRET_KEY: world.secretKey },
  );
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain(
    'is rolling over its key, and the file would hold one that is dead soon',
  );
  expect(await world.sql`select from acme.event where event = 'account_exported'`).toEqual([]);
  await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('only a member of acme_owner takes accounts out or in', async () => {
  const to = await target();
  const file = join(to.folder, 'main.json');
  for (const role of ['acme_admin', 'acme_worker', 'acme_app', 'acme_reader']) {
    const login = await to.database.login(role);
    const env = { DATABASE_URL: login.url, PGACME_SECRET_KEY: to.secretKey };
    const options = ['--out', file, '--passphrase-file', to.passphraseFile];
    const { code, stderr } = await cli(['account', 'export', 'main', ...options], env);
    expect(code, role).toBe(1);
    expect(stderr).toContain(`grant acme_owner to "${login.role}";`);
    const sql = await to.database.as(role);
    for (const call of [
      sql`select acme_private.export_account('main')`,
      sql`select acme_private.import_facts('main', null, null, 'x')`,
      sql`select acme_private.import_account('{}')`,
    ]) {
      await expect(call, role).rejects.toMatchObject({ code: '42501' });
    }
  }
});
