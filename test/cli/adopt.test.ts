import { randomBytes } from 'node:crypto';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { removeFolder } from '../../src/local/os-user.ts';
import { makeLogger } from '../../src/log.ts';
import { startWorker } from '../../src/worker.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { client } from '../account-file/helpers/clients.ts';
import { folderOf } from '../account-file/helpers/files.ts';
import { foreignCertificates } from '../helpers/foreign-certificates.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import { cli, linesOf } from './cli.ts';

async function targetDatabase() {
  const database = await freshDatabase();
  await database.sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await database.sql`insert into acme.account (name, server) values ('main', 'ca')`;
  const admin = await database.login('acme_admin');
  const env = { DATABASE_URL: admin.url };
  return { database, env, run: (...args: string[]) => cli(['adopt', ...args], env) };
}

test('a folder is taken in, and what is there, has expired or lacks its CSR is told apart', async () => {
  const { database, env, run } = await targetDatabase();
  const names = ['a.example.org', 'b.example.org', 'c.example.org'];
  const [a, b, c] = await foreignCertificates(names);
  const [old] = await foreignCertificates(['old.example.org'], {
    notBefore: '2026-01-01T00:00:00Z',
    notAfter: '2026-03-01T00:00:00Z',
  });
  const dir = await folderOf({
    'a.crt': a?.chainPem ?? '',
    'a.csr': a?.csrPem ?? '',
    'b.crt': b?.chainPem ?? '',
    'b.csr': b?.csrPem ?? '',
    'c.crt': c?.chainPem ?? '',
    'old.crt': old?.chainPem ?? '',
    'old.csr': old?.csrPem ?? '',
  });
  const head = 'Found: 4. With their CSR: 2. Without: 1. Expired, left out: 1.';
  const dry = await run(dir, '--dry-run');
  expect(dry).toMatchObject({ code: 1, stdout: `${head}\n` });
  expect(dry.stderr).toContain(`c (${join(dir, 'c.crt')}): no CSR with its key and names.`);
  expect(dry.stderr).toContain('-addext subjectAltName=DNS:c.example.org -out c.csr');
  expect(await database.sql`select count(*)::int from acme.csr`).toEqual([{ count: 0 }]);

  const first = await run(dir, '--tenant', 'webapp', '--account', 'main');
  expect(first.code).toBe(1);
  expect(linesOf(first.stdout).slice(0, 2)).toEqual([
    head,
    'Inserted: 2. There before: 0. Refused: 0.',
  ]);
  expect(await database.sql`select tenant, ref, account from acme.csr order by ref`).toEqual([
    { tenant: 'webapp', ref: 'a', account: 'main' },
    { tenant: 'webapp', ref: 'b', account: 'main' },
  ]);
  const csrs = await folderOf({ 'any name': c?.csrPem ?? '' });
  const second = await run(dir, '--tenant', 'webapp', '--csrs', csrs, '--expired');
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(second.stdout).slice(0, 2)).toEqual([
    'Found: 4. With their CSR: 4. Without: 0. Expired, left out: 0.',
    'Inserted: 2. There before: 2. Refused: 0.',
  ]);
  // A name of the application's own is in the way of one.
  const { pem } = await makeCsr({ names: ['d.example.org'] });
  await database.sql`insert into acme.csr (pem, ref, tenant) values (${pem}, 'd', 'other')`;
  const [d] = await foreignCertificates(['d.example.org']);
  const again = await folderOf({ 'd.crt': d?.chainPem ?? '', 'd.csr': d?.csrPem ?? '' });
  const refused = await run(again, '--tenant', 'other');
  expect(refused.code).toBe(1);
  expect(refused.stdout).toContain('Inserted: 0. There before: 0. Refused: 1.');
  expect(refused.stderr).toMatch(/d: The ref 'd' already belongs to csr \d+\./);
  expect(await run(join(dir, 'absent'))).toMatchObject({ code: 1 });
  // What cannot be read is named, and the rest is taken in; no secret of a worker is needed for that.
  await symlink('loop.pem', join(dir, 'loop.pem'));
  const partly = await cli(['adopt', dir, '--csrs', csrs], {
    ...env,
    PGACME_SECRET_KEY_FILE: join(dir, 'absent'),
  });
  expect(partly).toMatchObject({
    code: 1,
    stderr: `Not read: ${join(dir, 'loop.pem')} (ELOOP)\n`,
  });
  expect(partly.stdout).toContain('With their CSR: 3. Without: 0.');
});

test('names of files and what lies in them are shown without control characters, and quoted for a shell', async () => {
  const { run } = await targetDatabase();
  const [a, b] = await foreignCertificates(['a.example.org', 'b.example.org']);
  const dir = await folderOf({
    'a\u001b[2J.crt': a?.chainPem ?? '',
    "b'; rm x.crt": b?.chainPem ?? '',
    'b.conf': 'server = https://ca.example.org/\u001b]0;owned\u0007\n',
  });
  const { code, stdout, stderr } = await run(dir, '--dry-run');
  expect(code).toBe(1);
  expect(stdout + stderr).toMatch(/^[\n -~]+$/);
  expect(stdout).toContain('Ordered at https://ca.example.org/]0;owned: 2');
  expect(stderr).toContain(" -out 'a[2J.csr'");
  expect(stderr).toContain(` -out 'b'\\''; rm x.csr'`);
});

test(
  "certbot's and lego's own folders are taken in, served at once, and nothing is ordered",
  { timeout: 180_000 },
  async ({ skip }) => {
    const pebble = await pebbleForTests();
    const root = await testFolder('adopt');
    onTestFinished(() => removeFolder(root));
    const certbot = await client('certbot', pebble, join(root, 'certbot'));
    const lego = await client('lego', pebble, join(root, 'lego'));
    if (certbot === undefined || lego === undefined) {
      return skip('certbot or lego is not installed');
    }
    const [both, single] = [[freshName('both'), freshName('both')].sort(), freshName('single')];
    await certbot.register('');
    await certbot.order(both);
    const csrFile = join(root, 'single.csr');
    const { pem } = await makeCsr({ names: [single] });
    await writeFile(csrFile, pem);
    await lego.order([], csrFile);

    const database = await freshDatabase();
    await database.sql`
    insert into acme.server (name, directory_url, ca_bundle)
    values ('pebble', ${pebble.directoryUrl}, ${pebble.caPem})`;
    await database.sql`insert into acme.account (name, server, terms_agreed) values ('main', 'pebble', true)`;
    const admin = await database.login('acme_admin');
    const run = (...args: string[]) => cli(['adopt', ...args], { DATABASE_URL: admin.url });
    // This certbot keeps CSRs, newer ones do not.
    const taken = await run(certbot.folder, '--tenant', 'webapp');
    expect(taken).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(taken.stdout)).toContain(`Ordered at ${pebble.directoryUrl}: 1`);
    const bare = await run(lego.folder, '--tenant', 'webapp');
    expect(bare.code).toBe(1);
    expect(bare.stderr).toContain(`${single} (`);
    expect(await run(lego.folder, '--tenant', 'webapp', '--csrs', root)).toMatchObject({ code: 0 });

    const login = await database.login('acme_worker');
    const worker = await startWorker({
      databaseUrl: login.url,
      secretKey: randomBytes(32).toString('base64'),
      http01Listen: undefined,
      log: makeLogger('silent'),
    });
    onTestFinished(() => worker.stop());
    const rows = await until(
      async () => {
        const found = await database.sql<{ identifiers: string[]; tenant: string }[]>`
        select identifiers, tenant from acme.current_certificate order by identifiers`;
        return found.length === 2 && found;
      },
      { what: 'both are adopted', timeoutMs: 30_000 },
    );
    expect(rows).toEqual([
      { identifiers: both, tenant: 'webapp' },
      { identifiers: [single], tenant: 'webapp' },
    ]);
    expect(await database.sql`select count(*)::int from acme."order"`).toEqual([{ count: 0 }]);
  },
);

test('an account that there is not is told before anything else, also by --dry-run', async () => {
  const { database, run } = await targetDatabase();
  const [a] = await foreignCertificates(['a.example.org']);
  const dir = await folderOf({ 'a.crt': a?.chainPem ?? '', 'a.csr': a?.csrPem ?? '' });
  for (const more of [[], ['--dry-run']]) {
    expect(await run(dir, '--account', 'nosuch', ...more)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'There is no account nosuch. Insert it into acme.account first, or leave --account out.\n',
    });
  }
  expect(await run(dir, '--account', 'main', '--dry-run')).toMatchObject({ code: 0, stderr: '' });
  expect(await database.sql`select count(*)::int from acme.csr`).toEqual([{ count: 0 }]);
});
