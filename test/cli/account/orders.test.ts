import { expect, test } from 'vitest';
import { valid } from '../../helpers/account.ts';
import { frozenCopy } from '../../helpers/state/index.ts';
import { faultyWorld, freshName } from '../../helpers/world.ts';
import { cli, linesOf } from '../cli.ts';

test('account orders lists what the server has, with what each order is here', async () => {
  const { ca, ...world } = await faultyWorld({ ordersPerPage: 2 });
  const worker = await world.worker();
  const first = await world.insert({ names: [freshName('b'), freshName('a')] });
  await world.reach(first, 'issued');
  const [known] = await world.sql<[{ id: string; url: string; identifiers: string[] }]>`
    select id, url, identifiers from acme."order"`;
  const lost = await world.insert({ names: [freshName()] });
  const { identifiers } = await world.reach(lost, 'issued');
  const third = await world.insert({ names: [freshName()] });
  await world.reach(third, 'issued');
  await worker.stop();
  await world.sql`delete from acme.csr where id = ${lost}`;
  const owner = await world.database.login('acme_owner');
  const env = { DATABASE_URL: owner.url, PGACME_SECRET_KEY: world.secretKey };
  const { code, stdout, stderr } = await cli(['account', 'orders', 'main'], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = linesOf(stdout).map((line) => line.trim().split(/ {2,}/));
  expect(lines).toHaveLength(5);
  expect(lines[0]).toEqual(['URL', 'STATUS', 'EXPIRES', 'ORDER', 'CSR', 'NAMES']);
  const sorted = [...known.identifiers].sort().join(' ');
  expect(lines[1]).toEqual([known.url, 'valid', expect.any(String), known.id, first, sorted]);
  expect(lines[2]?.slice(3)).toEqual(['-', '-', identifiers?.[0]]);
  expect(lines[4]).toEqual(['3 orders']);

  // An order that the server lists and does not give stands there with the reason.
  ca.on('order', { status: 500, html: true, times: 1 });
  const short = await cli(['account', 'orders', 'main', '--max', '1'], env);
  expect(short.stdout).toContain('not given: ');
  expect(linesOf(short.stdout).at(-1)).toBe(
    '3 orders; shown are the last 1 of the list. --max shows more.',
  );

  ca.on('orders', { status: 500, html: true, times: 1 });
  const broken = await cli(['account', 'orders', 'main'], env);
  expect(broken).toMatchObject({ code: 1, stdout: '' });
  expect(broken.stderr).toContain('The orders of account main cannot be listed: ');
});

test('account orders says why there is nothing to list', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.sql`insert into acme.account (name, server) values ('unregistered', 'ca')`;
  const worker = await world.worker();
  await valid(world);
  await worker.stop();
  const env = { DATABASE_URL: world.database.url, PGACME_SECRET_KEY: world.secretKey };
  const run = (...args: string[]) => cli(['account', 'orders', ...args], env);
  expect(await run('main')).toEqual({
    code: 0,
    stdout:
      'The server has no list of orders for account main: it offers none (RFC 8555 §7.1.2.1).\n',
    stderr: '',
  });
  const absent = await run('absent');
  expect(absent).toMatchObject({ code: 1, stdout: '' });
  expect(absent.stderr).toContain('There is no account "absent"');
  const unregistered = await run('unregistered');
  expect(unregistered).toMatchObject({ code: 1, stdout: '' });
  expect(unregistered.stderr).toContain('The account unregistered is not registered');
  expect(await run('main', '--max', 'all')).toMatchObject({ code: 2, stdout: '' });
  const other = await cli(['account', 'orders', 'main'], {
    ...env,
    PGACME_SECRET_KEY: Buffer.alloc(32, 1).toString('base64'),
  });
  expect(other).toMatchObject({ code: 1, stdout: '' });
  const before = ca.seen.length;
  await frozenCopy(world.sql);
  const held = await run('main');
  expect(held).toMatchObject({ code: 1, stdout: '' });
  expect(held.stderr).toContain('pgacme adopt-database');
  expect(ca.seen).toHaveLength(before);
});
