import { expect, inject, test, vi } from 'vitest';
import { findPsql } from '../../src/local/psql.ts';
import { run, which } from '../../src/local/run.ts';
import { testCache } from '../helpers/pebble.ts';
import { psql } from '../helpers/psql.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 240_000 });

test('psql runs a script, stops at its first error and says so', async () => {
  const url = inject('postgresUrl');
  const good = await psql(url, 'select 1 + 1 as sum;', { args: ['-At'] });
  expect(good).toMatchObject({ code: 0, stdout: '2\n', stderr: '' });
  const bad = await psql(url, "select 1/0;\n\\echo 'not reached'\n");
  expect(bad.code).toBe(3);
  expect(bad.stderr).toContain('division by zero');
  expect(bad.stdout).not.toContain('not reached');
});

test('psql acts as the role it is given', async () => {
  const result = await psql(inject('postgresUrl'), 'select current_user;', {
    args: ['-At'],
    role: 'pg_monitor',
  });
  expect(result.stdout).toBe('pg_monitor\n');
});

test('a machine without psql gets the one of Debian, and from the cache the second time', async ({
  skip,
}) => {
  if ((await which('apt-get')) === undefined) skip('apt-get is not on this machine');
  const env = { ...testCache(), PATH: '/nonexistent' };
  const fetched = await findPsql({ env });
  expect(fetched.psql).toContain('/usr/lib/postgresql/');
  const again = await findPsql({ env });
  expect(again).toEqual({ ...fetched, source: expect.stringContaining('cache') as string });

  // With this variable the loader prints what it would load, and from where.
  const loaded = await run(again.psql, [], { env: { ...again.env, LD_TRACE_LOADED_OBJECTS: '1' } });
  const root = again.psql.slice(0, again.psql.indexOf('/usr/lib/postgresql/'));
  expect(loaded.stdout).toContain(`libpq.so.5 => ${root}/`);

  const result = await run(again.psql, ['-X', '-At', '-c', 'select 1', inject('postgresUrl')], {
    env: { ...process.env, ...again.env },
  });
  expect(result).toMatchObject({ code: 0, stdout: '1\n' });
});
