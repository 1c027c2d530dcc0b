import { createPrivateKey, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { expect } from 'vitest';
import { open, sealingKeys } from '../../../src/secrets/seal.ts';
import { makeCsr } from '../../../src/x509/index.ts';
import { cli, linesOf } from '../../cli/cli.ts';
import { otherCa } from '../foreign-certificates.ts';
import { spawnPgacme } from '../process.ts';
import { until } from '../until.ts';
import { freshName, type World } from '../world.ts';

/** The keys that bind accounts to one of the CA's, by their ids. */
export const macs = { 'kid-1': randomBytes(32), 'kid-2': randomBytes(32) };

const PASSPHRASE = `pass ${randomBytes(12).toString('hex')} phrase`;

/** What a life left behind, and what must be nowhere in it. */
export interface Life {
  secrets: Record<string, Buffer>;
  /** Of the worker's log. */
  lines: readonly string[];
  /** By the commands, on either stream. */
  printed: string[];
}

/**
 * The lives of two accounts, with every command that reads or writes a secret: bound (by SQL, by `create`), used,
 * rolled over, exported, imported into another database; certificates revoked by account and by key, and adopted.
 * Needs a CA that binds accounts by {@link macs}; what commands are given in files stays in the folder.
 */
export async function live(
  world: World,
  other: World,
  at: { folder: string; httpPort: number },
): Promise<Life> {
  const lineage = join(at.folder, 'lineage');
  await mkdir(lineage, { recursive: true });
  const life: Life = { secrets: {}, lines: [], printed: [] };
  const { secrets } = life;
  for (const [kid, mac] of Object.entries(macs)) secrets[`the HMAC key of ${kid}`] = mac;
  secrets['the passphrase'] = Buffer.from(PASSPHRASE);
  secrets['the sealing key'] = Buffer.from(world.secretKey, 'base64');
  secrets['the sealing key of the other database'] = Buffer.from(other.secretKey, 'base64');

  const log = { PGACME_LOG_LEVEL: 'trace' };
  const worker = spawnPgacme(['worker'], {
    ...log,
    DATABASE_URL: (await world.database.login('acme_worker')).url,
    PGACME_SECRET_KEY: world.secretKey,
    PGACME_HTTP01_LISTEN: `127.0.0.1:${at.httpPort}`,
  });
  life.lines = worker.lines;
  const run = async (of: World, ...args: string[]): Promise<string> => {
    const env = { ...log, DATABASE_URL: of.database.url, PGACME_SECRET_KEY: of.secretKey };
    const done = await cli(args, env);
    life.printed.push(done.stdout, done.stderr);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    return done.stdout;
  };
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(at.folder, name), text, { mode: 0o600 });
    return join(at.folder, name);
  };
  const settled = async (account: string, name: string) => {
    await until(() => isSettled(world, account), {
      what: `the account ${account} is valid`,
      timeoutMs: 60_000,
    });
    secrets[name] = secretOf(await currentKey(world, account));
  };

  const hmacs = {
    first: await file('first.txt', macs['kid-1'].toString('base64url')),
    second: await file('second.txt', macs['kid-2'].toString('base64url')),
  };
  const [sealed] = await Promise.all([
    run(world, 'seal', '--for', 'account:main', '--server', 'ca', '--file', hmacs.first),
    // prettier-ignore
    run(world, 'account', 'create', 'second', '--server', 'ca', '--agree-terms', '--eab-kid', 'kid-2', '--eab-hmac-file', hmacs.second),
  ]);
  await world.sql`
    update acme.account set eab_kid = 'kid-1', eab_hmac = ${linesOf(sealed)[0] ?? ''} where name = 'main'`;
  await settled('main', 'the first key of main');
  await settled('second', 'the key of second');

  const [byAccount, byKey] = [await withKey(), await withKey()];
  secrets['the key of a certificate'] = secretOf(byAccount.key);
  secrets['the key of a certificate that was given to revoke'] = secretOf(byKey.key);
  const csrs = [await world.insert(byAccount), await world.insert(byKey)] as const;
  for (const csr of csrs) await world.reach(csr, 'issued', 60_000);
  await world.sql`select acme.roll_over_key('main')`;

  const taken = await withKey();
  secrets['the key of a certificate that was adopted'] = secretOf(taken.key);
  const ca = await otherCa();
  const leaf = await ca.issue({ csrPem: taken.pem, names: taken.names });
  await file('lineage/shop.crt', leaf + ca.intermediate);
  await file('lineage/shop.csr', taken.pem);
  await file('lineage/shop.key', taken.keyPem);
  const [certificate] = await world.sql<[{ id: string }]>`
    select id from acme.certificate where csr_id = ${csrs[1]}`;
  const keyFile = await file('www.key', byKey.keyPem);
  await Promise.all([
    run(world, 'adopt', lineage),
    run(world, 'revoke', '--key-file', keyFile, '--id', certificate.id),
    settled('main', 'the second key of main'),
  ]);

  const passphrase = ['--passphrase-file', await file('passphrase.txt', PASSPHRASE)];
  const exported = join(at.folder, 'main.json');
  await run(world, 'account', 'export', 'main', '--out', exported, ...passphrase);
  await run(other, 'account', 'import', exported, '--name', 'taken-in', ...passphrase);
  expect(secretOf(await currentKey(other, 'taken-in'))).toEqual(secrets['the second key of main']);

  await world.sql`select acme.revoke(${csrs[0]}, 'superseded')`;
  await world.reach(csrs[0], 'cancelled', 60_000);
  const [adopted] = await world.sql<[{ id: string }]>`select id from acme.csr where ref = 'shop'`;
  await world.reach(adopted.id, 'issued', 60_000);
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  return life;
}

async function isSettled({ sql }: World, account: string): Promise<true> {
  const [row] = await sql<[{ state: string; is_pending: boolean; reason: string }]>`
    select state, has_pending_change as is_pending, reason from acme.account_status where name = ${account}`;
  if (row.state === 'valid' && !row.is_pending) return true;
  throw new Error(`it is ${row.state}: ${row.reason}`);
}

async function currentKey({ sql, secretKey }: World, account: string): Promise<JWK> {
  const [row] = await sql<[{ jwe: string; directory_url: string }]>`
    select k.jwe, s.directory_url
      from acme.account a
      join acme.server s on s.name = a.server
      join acme_private.account_key k on k.account_id = a.id and k.state = 'current'
     where a.name = ${account}`;
  const { origin } = new URL(row.directory_url);
  const binding = { purpose: 'account-key', row: account, origin } as const;
  return (await open(await sealingKeys(secretKey), binding, row.jwe)) as JWK;
}

async function withKey() {
  const names = [freshName()];
  const { pem, keyPem } = await makeCsr({ names });
  return { names, pem, keyPem, key: createPrivateKey(keyPem).export({ format: 'jwk' }) };
}

function secretOf({ d = '' }: { d?: string | undefined }): Buffer {
  return Buffer.from(d, 'base64url');
}
