import { createPrivateKey, type JsonWebKey, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { startPostgres } from '../../src/local/postgres.ts';
import { open, sealingKeys } from '../../src/seal.ts';
import { cli, linesOf } from '../cli/cli.ts';
import { databaseOn } from '../helpers/own-database.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { spawnPgacme } from '../helpers/process.ts';
import { testFolder } from '../helpers/sweep.ts';
import { until } from '../helpers/until.ts';
import { freshName, type World, worldWith } from '../helpers/world.ts';

const MAC = randomBytes(32);
const PASSPHRASE = `pass ${randomBytes(12).toString('hex')} phrase`;

test('no account key, HMAC key, passphrase or sealing key is in the database, its log, the queue or a log of a worker', async () => {
  const folder = await testFolder('secrets');
  const bin = process.env['PGACME_TEST_PG_BIN'];
  const log: string[] = [];
  const server = await startPostgres({
    dir: join(folder, 'postgres'),
    persistent: true,
    // Every statement, with its parameters.
    settings: { log_statement: 'all', wal_compression: 'off' },
    log: (line) => log.push(line),
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  });
  onTestFinished(() => server.stop());
  const { host, password } = new URL(server.url);
  const database = await databaseOn({ hosts: host, password });
  await migrate({ databaseUrl: database.url });
  const pebble = await pebbleForTests({ eab: { 'kid-1': MAC.toString('base64url') } });
  const world = await worldWith(pebble, database);
  const origin = new URL(pebble.directoryUrl).origin;
  const output = await live(world, pebble.httpPort, folder);
  const secrets = [
    ...output.keys.flatMap(({ d }) => (d === undefined ? [] : [Buffer.from(d, 'base64url')])),
    MAC,
    Buffer.from(PASSPHRASE),
    Buffer.from(world.secretKey, 'base64'),
  ];
  expect(output.keys).toHaveLength(2);
  expect(origin).toContain('127.0.0.1');

  // What is looked for would be found: in the files of the database, and in each of its forms.
  const planted = randomBytes(32);
  await world.sql`create table public.planted as select ${planted}::bytea as raw, ${planted.toString('base64url')} as text`;
  await world.sql`checkpoint`;
  const places: Record<string, Buffer> = {
    'the files of PostgreSQL': await filesBelow(join(folder, 'postgres')),
    "PostgreSQL's log": Buffer.from(log.join('\n')),
    "the worker's log": Buffer.from(output.lines.join('\n')),
  };
  expect(found(planted, places)).toContain('the files of PostgreSQL');
  for (const form of formsOf(planted)) {
    expect(found(planted, { here: Buffer.concat([Buffer.from('x'), form]) })).toEqual(['here']);
  }
  const [jwk] = output.keys;
  expect(
    found(secrets[0] ?? planted, {
      pem: Buffer.from(pemOf(jwk ?? {})),
      jwk: Buffer.from(JSON.stringify(jwk)),
    }),
  ).toEqual(['pem', 'jwk']);
  // The log has the statements that carried what was sealed.
  expect(log.join('\n')).toContain('eab_hmac');
  expect(output.lines.join('\n')).toContain('worker started');

  for (const secret of secrets) expect(found(secret, places)).toEqual([]);
}, 180_000);

/** The life of an account: bound, used, rolled over, exported, its certificate revoked. */
async function live(world: World, httpPort: number, folder: string) {
  const { url } = await world.database.login('acme_worker');
  const env = { PGACME_SECRET_KEY: world.secretKey };
  const worker = spawnPgacme(['worker'], {
    ...env,
    DATABASE_URL: url,
    PGACME_LOG_LEVEL: 'trace',
    PGACME_HTTP01_LISTEN: `127.0.0.1:${httpPort}`,
  });
  const owner = { ...env, DATABASE_URL: world.database.url };
  const hmac = join(folder, 'hmac.txt');
  await writeFile(hmac, MAC.toString('base64url'));
  const sealed = await cli(
    ['seal', '--for', 'account:main', '--server', 'ca', '--file', hmac],
    owner,
  );
  expect(sealed, sealed.stderr).toMatchObject({ code: 0 });
  await world.sql`
    update acme.account set eab_kid = 'kid-1', eab_hmac = ${linesOf(sealed.stdout)[0] ?? ''}`;
  const keys: JsonWebKey[] = [];
  const settled = async () => {
    await until(
      async () => {
        const [row] = await world.sql<[{ state: string; is_pending: boolean; reason: string }]>`
          select state, has_pending_change as is_pending, reason from acme.account_status`;
        if (row.state === 'valid' && !row.is_pending) return true;
        throw new Error(`it is ${row.state}: ${row.reason}`);
      },
      { what: 'the account is valid', timeoutMs: 60_000 },
    );
    const [row] = await world.sql<[{ jwe: string; origin: string }]>`
      select k.jwe, substring(s.directory_url from '^https://[^/]+') as origin
        from acme_private.account_key k, acme.server s where k.state = 'current' and s.name = 'ca'`;
    const binding = { purpose: 'account-key', row: 'main', origin: row.origin } as const;
    keys.push((await open(await sealingKeys(world.secretKey), binding, row.jwe)) as JsonWebKey);
  };
  await settled();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 60_000);
  await world.sql`select acme.roll_over_key('main')`;
  await settled();
  const passphrase = join(folder, 'passphrase.txt');
  await writeFile(passphrase, PASSPHRASE);
  const exported = await cli(
    [
      'account',
      'export',
      'main',
      '--out',
      join(folder, 'main.json'),
      '--passphrase-file',
      passphrase,
    ],
    owner,
  );
  expect(exported, exported.stderr).toMatchObject({ code: 0 });
  await world.sql`select acme.revoke(${id}, 'superseded')`;
  await world.reach(id, 'cancelled', 60_000);
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  return { keys, lines: worker.lines };
}

/** Data, log of changes, and whatever else stands there. */
async function filesBelow(folder: string): Promise<Buffer> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Buffer.concat(
    await Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name)))),
  );
}

function found(secret: Buffer, places: Record<string, Buffer>): string[] {
  const forms = formsOf(secret);
  return Object.entries(places).flatMap(([place, bytes]) =>
    forms.some((form) => bytes.includes(form)) ? [place] : [],
  );
}

/** The secret itself, in hex, and in base64 wherever it may begin in what is encoded (JWK, DER in PEM). */
function formsOf(secret: Buffer): Buffer[] {
  const hex = secret.toString('hex');
  const encoded = [0, 1, 2].flatMap((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), secret]).toString('base64');
    // Without the digits that also hold what is before or after it; short enough for a line of PEM.
    const inner = text.slice(shift === 0 ? 0 : 4, -4);
    return [inner.slice(0, 24), inner.slice(0, 24).replaceAll('+', '-').replaceAll('/', '_')];
  });
  return [secret, ...[hex, hex.toUpperCase(), ...encoded].map((text) => Buffer.from(text))];
}

function pemOf(jwk: JsonWebKey): string {
  return createPrivateKey({ key: jwk, format: 'jwk' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()
    .replaceAll('\n', '');
}
