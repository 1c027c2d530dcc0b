import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { run } from '../../src/local/run.ts';
import { ownCluster } from '../helpers/cluster.ts';
import { expectHeldUntilAdopted, fill, startSite, statusOf } from '../helpers/copied.ts';
import { testFolder } from '../helpers/sweep.ts';

// Two clusters and the programs that fit them: the embedded PostgreSQL brings no pg_dump.
const bin = '/usr/lib/postgresql/15/bin';
const isThere = existsSync(join(bin, 'pg_dump')) && existsSync(join(bin, 'postgres'));

async function program(name: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await run(join(bin, name), args, { timeoutMs: 60_000 });
  expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: '' });
}

test(
  'a dump restored under the same name on another cluster sends nothing until it is adopted',
  { timeout: 120_000 },
  async ({ skip }) => {
    skip(!isThere, `There is no PostgreSQL 15 with pg_dump in ${bin}.`);
    const [from, to] = [await ownCluster({ bin }), await ownCluster({ bin })];
    const site = await startSite();
    const url = await from.database();
    await migrate({ databaseUrl: url });
    const csrs = await fill(url, from.connect(url), site);

    const dir = await testFolder('dump');
    await program('pg_dump', '--format=custom', `--file=${join(dir, 'app.dump')}`, url);
    await program(
      'pg_dumpall',
      '--roles-only',
      '--no-role-passwords',
      `--file=${join(dir, 'roles.sql')}`,
      '--dbname',
      url,
    );
    const copy = await to.database(undefined, new URL(url).pathname.slice(1));
    // The superuser is there already: all else has to come through.
    await run(join(bin, 'psql'), ['--quiet', '--file', join(dir, 'roles.sql'), copy]);
    await program('pg_restore', '--exit-on-error', `--dbname=${copy}`, join(dir, 'app.dump'));

    const sql = to.connect(copy);
    // Migrating it leaves it a copy.
    const lines: string[] = [];
    expect((await migrate({ databaseUrl: copy, log: (line) => lines.push(line) })).applied).toEqual(
      [],
    );
    expect(lines).toEqual([
      'The database is held as a copy: it was set up on another PostgreSQL cluster. Nothing goes to a CA from here until pgacme adopt-database is run.',
    ]);
    expect(await statusOf(sql, csrs.issued)).toMatchObject({ state: 'issued', reason_code: null });
    await expectHeldUntilAdopted(
      { url: copy, sql, site, csrs },
      /set up on another PostgreSQL cluster\. .* pgacme adopt-database is run\.$/,
    );
  },
);
