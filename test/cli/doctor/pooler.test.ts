import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { findPgbouncer, pgbouncerFor } from '../../helpers/pgbouncer.ts';
import { freshDatabase } from '../../helpers/postgres.ts';
import { findings } from './findings.ts';

const program = await findPgbouncer();
const PGACME_SECRET_KEY = randomBytes(32).toString('base64');

test.skipIf(program === undefined)(
  'a transaction pooler needs PGACME_LISTEN_URL, which has to be direct and lead to the same database',
  async () => {
    const database = await freshDatabase();
    const { url } = await database.login('acme_worker');
    const pooled = await pgbouncerFor(program ?? '', url);
    const told = async (env: Record<string, string>) =>
      (await findings({ PGACME_SECRET_KEY, ...env })).filter((line) => line.startsWith('Pooler'));
    expect(await told({ DATABASE_URL: pooled })).toEqual([
      'Pooler: problem: DATABASE_URL leads through a pooler in transaction mode, where LISTEN and the lock of a worker do not last. Give workers a direct URL besides, in PGACME_LISTEN_URL.',
    ]);
    expect(await told({ DATABASE_URL: pooled, PGACME_LISTEN_URL: url })).toEqual([
      'Pooler: ok: A transaction pooler, with PGACME_LISTEN_URL beside it.',
      'Pooler: ok: PGACME_LISTEN_URL is direct.',
    ]);
    expect((await told({ DATABASE_URL: pooled, PGACME_LISTEN_URL: pooled })).join()).toContain(
      'problem: PGACME_LISTEN_URL leads through a pooler in transaction mode itself.',
    );
    const other = await (await freshDatabase()).login('acme_worker');
    expect((await told({ DATABASE_URL: pooled, PGACME_LISTEN_URL: other.url })).join()).toContain(
      'problem: PGACME_LISTEN_URL leads to another database',
    );
    // Everything else is looked at through the pooler all the same.
    const all = (await findings({ PGACME_SECRET_KEY, DATABASE_URL: pooled })).join('\n');
    expect(all).toContain('Queue: ok: acme_worker is complete.');

    const inSession = await pgbouncerFor(program ?? '', url, 'session');
    expect(await told({ DATABASE_URL: inSession })).toEqual([
      'Pooler: ok: Connections are direct, or a pooler in session mode.',
    ]);
  },
);
