import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { onTestFinished } from 'vitest';
import { type AccountFile, sealAccountFile } from '../../../src/account-file/index.ts';
import {
  type Account,
  type AccountKey,
  generateAccountKey,
  newAccount,
  Server,
} from '../../../src/acme/index.ts';
import { removeFolder } from '../../../src/local/os-user.ts';
import type { RunResult } from '../../../src/local/run.ts';
import { pebbleForTests, type TestPebble } from '../../helpers/pebble.ts';
import { type FreshDatabase, freshDatabase } from '../../helpers/postgres.ts';
import { testFolder } from '../../helpers/sweep.ts';
import { cli } from '../cli.ts';

export const passphrase = 'correct horse battery';

/** A folder and a database that accounts come into, with a sealing key of its own. */
export interface Target {
  pebble: TestPebble;
  database: FreshDatabase;
  secretKey: string;
  folder: string;
  passphraseFile: string;
  /** Runs a command as the superuser of the database. */
  run(...args: string[]): Promise<RunResult>;
  /** How many rows there are of what an import makes. */
  rows(): Promise<{ accounts: number; keys: number; servers: number; events: number }>;
}

export async function target(): Promise<Target> {
  const pebble = await pebbleForTests();
  const database = await freshDatabase();
  const folder = await testFolder('transfer');
  onTestFinished(() => removeFolder(folder));
  const passphraseFile = join(folder, 'passphrase.txt');
  await writeFile(passphraseFile, `${passphrase}\n`);
  const secretKey = randomBytes(32).toString('base64');
  return {
    pebble,
    database,
    secretKey,
    folder,
    passphraseFile,
    run: (...args) => cli(args, { DATABASE_URL: database.url, PGACME_SECRET_KEY: secretKey }),
    async rows() {
      const [row] = await database.sql<
        [{ accounts: number; keys: number; servers: number; events: number }]
      >`
        select (select count(*)::int from acme.account) as accounts,
               (select count(*)::int from acme_private.account_key) as keys,
               (select count(*)::int from acme.server) as servers,
               (select count(*)::int from acme.event) as events`;
      return row;
    },
  };
}

/** An account that a client other than pgacme's workers has at Pebble. */
export async function registered(
  pebble: TestPebble,
): Promise<Account & { key: AccountKey; privateJwk: JWK }> {
  const server = new Server({ directoryUrl: pebble.directoryUrl, caBundle: pebble.caPem });
  onTestFinished(() => server.close());
  const key = await generateAccountKey();
  const { url } = await newAccount(server, key, {
    contact: ['mailto:ops@example.org'],
    termsOfServiceAgreed: true,
  });
  return { server, url, key, privateJwk: key.privateJwk };
}

/** Its export, written by the code that the command uses, with some facts changed. */
export async function exportOf(
  to: Target,
  account: Account & { privateJwk: JWK },
  changed: Partial<AccountFile> = {},
): Promise<string> {
  const file = join(to.folder, `${randomBytes(4).toString('hex')}.json`);
  const text = await sealAccountFile(
    {
      server: {
        name: 'pebble',
        directoryUrl: to.pebble.directoryUrl,
        caBundle: to.pebble.caPem,
        allowedHosts: [],
      },
      name: 'main',
      url: account.url,
      thumbprint: account.key.thumbprint,
      privateJwk: account.privateJwk,
      contact: ['mailto:ops@example.org'],
      termsAgreed: true,
      records: [],
      exportedAt: new Date().toISOString(),
      ...changed,
    },
    passphrase,
  );
  await writeFile(file, text);
  return file;
}
