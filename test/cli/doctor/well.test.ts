import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { migrate } from '../../../src/db/migrate/migrate.ts';
import { ownCluster } from '../../helpers/cluster.ts';
import { until } from '../../helpers/until.ts';
import { faultyWorld } from '../../helpers/world.ts';
import { cli, linesOf } from '../cli.ts';
import { findings, of, problems } from './findings.ts';

const KEY = randomBytes(32).toString('base64');

test('it ends with 0 on a new installation, whose warnings say what is still to be done', async () => {
  const cluster = await ownCluster({ settings: {} });
  const url = await cluster.database();
  await migrate({ databaseUrl: url });
  const login = cluster.as(url, await cluster.login('issuer', 'in role acme_worker'));
  const { code, stdout, stderr } = await cli(['doctor'], {
    DATABASE_URL: login,
    PGACME_SECRET_KEY: KEY,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(linesOf(stdout).filter((line) => line.startsWith('  warning'))).toEqual([
    '  warning  There is no account: csrs wait until one is inserted into acme.account.',
    '  warning  None runs: nothing is done until one does (pgacme worker).',
  ]);
  expect(linesOf(stdout).at(-1)).toBe('0 problems, 2 warnings.');
  expect(stdout).not.toContain(KEY);
  await cluster.login('unbound', 'bypassrls in role acme_app');
  const warned = of('warning', await findings({ DATABASE_URL: login, PGACME_SECRET_KEY: KEY }));
  expect(warned).toContain(
    "Roles: warning: The login unbound of an application sees every tenant's rows. Let an administrator run: alter role unbound nobypassrls;",
  );
  // Sessions come before roles.
  expect(warned[0]).toMatch(
    /^Sessions: warning: Nothing ends a transaction that these logins leave open, .*: unbound\./,
  );
  expect(stdout).not.toContain(new URL(login).password);
});

test('a working installation: every group is ok, and a problem ends it with 1', async () => {
  const world = await faultyWorld();
  const worker = await world.worker();
  await until(
    async () =>
      (await world.sql`select from acme.account_status where state = 'valid'`).length === 1,
    { what: 'the account is registered' },
  );
  const { url } = await world.database.login('acme_worker');
  const env = {
    DATABASE_URL: url,
    PGACME_SECRET_KEY: world.secretKey,
    PGACME_HTTP01_LISTEN: `127.0.0.1:${worker.http01?.port ?? 0}`,
  };
  const lines = await findings(env);
  expect(problems(lines)).toEqual([]);
  expect(of('warning', lines)).toEqual([]);
  for (const line of [
    'Environment: ok: Every variable can be read.',
    'PostgreSQL: ok: It is a primary and takes writes.',
    'Pooler: ok: Connections are direct, or a pooler in session mode.',
    'Queue: ok: acme_worker is complete.',
    `ACME servers: ok: ca (${world.ca.directoryUrl}) answers.`,
    'Clocks: ok: Those of this machine, of the database and of the ACME servers agree.',
    'Accounts: ok: The account is registered.',
    'Workers: ok: 1 running.',
    `Listen addresses: ok: PGACME_HTTP01_LISTEN (${env.PGACME_HTTP01_LISTEN}) is answered by a worker.`,
  ]) {
    expect(lines).toContain(line);
  }
  expect(lines.join()).toMatch(/Migrations: ok: All \d+ have run/);
  expect(lines.join()).toMatch(/opens the key of the account/);
  expect(lines.join()).not.toContain(new URL(url).password);
  const printed = await cli(['doctor'], env);
  expect({ code: printed.code, stderr: printed.stderr }).toEqual({ code: 1, stderr: '' });
  expect(printed.stdout).toMatch(/^ {2}PROBLEM {2}fsync is off/m);
  expect(printed.stdout).not.toContain(world.secretKey);
});
