import { expect, test } from 'vitest';
import { freePort } from '../../src/local/ports.ts';
import { openShop } from '../helpers/shop.ts';
import {
  ago,
  ahead,
  all,
  putInState,
  registerDefaultAccount,
  set,
  workerRow,
} from '../helpers/state/index.ts';
import { cli, linesOf } from './cli.ts';

interface Report {
  attention: { critical: number; rows: { code: string }[] };
  counts: unknown[];
}

test('status --check ends with 0, 1, 2 or 3 and one line, as Nagios has it', async () => {
  const shop = await openShop();
  const { sql, database } = shop;
  await registerDefaultAccount(sql);
  await workerRow(sql, 'h', { http01: '0.0.0.0:80', heartbeat_at: ahead('1 day') });
  const { url: DATABASE_URL } = await database.login('acme_reader');
  const check = (env: Record<string, string> = { DATABASE_URL }, ...args: string[]) =>
    cli(['status', '--check', ...args], env);

  expect(await check()).toMatchObject({
    code: 0,
    stdout: 'PGACME OK - nothing needs attention | critical=0 warning=0\n',
    stderr: '',
  });
  const id = await shop.insert();
  await putInState(sql, id, 'needs_person');
  await set(sql, 'csr', id, { reason: 'Act | now\n.' });
  expect(await check()).toMatchObject({
    code: 1,
    stdout: `PGACME WARNING - 1 warning. csr ${id} (csr-${id}.example.org): Act / now . | critical=0 warning=1\n`,
  });
  const expired = await shop.insert();
  await putInState(sql, expired, 'renewing');
  await set(sql, 'certificate', all, {
    not_after: ago('1 day'),
    planned_renewal_at: ago('30 days'),
  });
  const critical = await check();
  expect(critical.code).toBe(2);
  expect(critical.stdout).toMatch(
    /^PGACME CRITICAL - 1 critical, 1 warning\. csr \d+ \(csr-\d+\.example\.org\): The certificate expired \d{4}-.*\| critical=1 warning=1\n$/,
  );

  // Status itself begins with it, and JSON has it.
  const shown = linesOf((await cli(['status'], { DATABASE_URL })).stdout);
  expect(shown.slice(1, 4)).toEqual([
    '',
    'Attention: 1 critical, 1 warning',
    expect.stringMatching(/^ {2}critical {2}csr \d+ .*: The certificate expired /) as string,
  ]);
  const json = await cli(['status', '--json'], { DATABASE_URL });
  const report = JSON.parse(json.stdout) as Report;
  expect(report.attention.critical).toBe(1);
  expect(report.attention.rows.map(({ code }) => code)).toEqual([
    'certificate_expired',
    'needs_person',
  ]);

  const unknown = [
    await check({ DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/shop` }),
    await check({ DATABASE_URL: 'nonsense' }),
    await check({ DATABASE_URL: (await database.login('acme_app')).url }),
    await check({ DATABASE_URL: (await database.login('acme_responder')).url }),
    await check(undefined, '--nonsense'),
    await check(undefined, '--json'),
  ];
  for (const { code, stdout, stderr } of unknown) {
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    expect(stdout).toMatch(/^PGACME UNKNOWN - [^\n]+\n$/);
  }
});

test('an application is not advised to ask for the rights to see every tenant', async () => {
  const { database } = await openShop();
  const { url, role } = await database.login('acme_app');
  const { code, stderr } = await cli(['status'], { DATABASE_URL: url });
  expect(code).toBe(1);
  expect(stderr).toContain(`User ${role} is the login of an application`);
  expect(stderr).toContain('select * from acme.attention;');
  expect(stderr).not.toMatch(/grant|acme_reader/);
});

test('doctor includes what needs attention, also as JSON', async () => {
  const shop = await openShop();
  const { sql, database } = shop;
  await registerDefaultAccount(sql);
  const id = await shop.insert();
  await putInState(sql, id, 'needs_person');
  await set(sql, 'csr', id, { reason: 'Act.' });
  const { url } = await database.login('acme_worker');
  const { stdout, code } = await cli(['doctor', '--json'], { DATABASE_URL: url });
  expect(code).toBe(1);
  const { checks } = JSON.parse(stdout) as {
    checks: { name: string; findings: { level: string; text: string }[] }[];
  };
  expect(checks.find(({ name }) => name === 'Attention')?.findings).toEqual([
    {
      level: 'warning',
      text: `csr ${id} (csr-${id}.example.org): Act. Do what the sentence says, then: select acme.retry(${id}); Where it says to cancel, do not retry: select acme.cancel(${id});`,
    },
  ]);
});
