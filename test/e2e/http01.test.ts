import { createServer } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, pebbleWorld } from '../helpers/world.ts';

const PATH = '/.well-known/acme-challenge/';

test('any worker answers for any order', async () => {
  const world = await pebbleWorld();
  // The one that works has no responder; the one that answers has no work to win, as it starts first.
  await world.worker({ concurrency: 1 });
  const working = await world.worker({ http01Listen: undefined });
  const ids = await Promise.all(
    Array.from({ length: 6 }, () => world.insert({ names: [freshName()] })),
  );
  for (const id of ids) await world.reach(id, 'issued');
  const rows = await world.sql<
    { worker_id: string }[]
  >`select worker_id from acme.event where event = 'issued'`;
  expect(rows.some((row) => Number(row.worker_id) === working.id)).toBe(true);
});

test("an application's own server answers with http01_response() as acme_responder", async () => {
  const world = await pebbleWorld();
  await world.worker({ http01Listen: undefined });
  const responder = await world.database.as('acme_responder');
  let asked = 0;
  const server = createServer((request, response) => {
    const token = request.url?.split(PATH)[1] ?? '';
    asked++;
    responder<[{ body: string | null }]>`select acme.http01_response(${token}) as body`.then(
      ([row]) => response.writeHead(row.body === null ? 404 : 200).end(row.body),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(world.pebble.httpPort, '127.0.0.1', resolve));
  try {
    const id = await world.insert({ names: [freshName()] });
    await world.reach(id, 'issued');
    expect(asked).toBeGreaterThan(0);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test('what is to be published by hand is listed, waited for, and listed again to be removed', async () => {
  const world = await pebbleWorld();
  await world.worker({ http01Listen: undefined });
  await world.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{}')`;
  const application = await world.database.as('acme_app');
  const name = freshName();
  const id = await world.insert(
    { names: [name] },
    { solver: 'by-hand', tenant: (await world.database.login('acme_app')).role },
  );
  const todo = await until(
    async () =>
      (
        await application<{ id: string; action: string; location: string; value: string }[]>`
      select * from acme.challenge_todo where csr_id = ${id}`
      )[0],
    { what: 'something is to be published' },
  );
  expect(todo.action).toBe('publish');
  expect(todo.location).toBe(`http://${name}${PATH}${todo.value.split('.')[0]}`);
  expect(await world.status(id)).toMatchObject({
    state: 'ordering',
    reason_code: 'waiting_for_publication',
  });
  const [explained] = await application<[{ text: string }]>`select acme.explain(${id}) as text`;
  expect(explained.text).toContain(todo.location);
  // The waiting order holds no place among those in flight.
  const [parked] = await world.sql<[{ room: number }]>`
    select acme_private.room(id) as room from acme.server where name = 'ca'`;
  expect(parked.room).toBe(8);

  const published = createServer((_request, response) => response.end(todo.value));
  await new Promise<void>((resolve) =>
    published.listen(world.pebble.httpPort, '127.0.0.1', resolve),
  );
  try {
    await application`select acme.challenge_published(${todo.id})`;
    await world.reach(id, 'issued');
  } finally {
    published.closeAllConnections();
    await new Promise((resolve) => published.close(resolve));
  }
  const [removal] = await application<
    { id: string; action: string }[]
  >`select * from acme.challenge_todo`;
  expect(removal).toMatchObject({ id: todo.id, action: 'remove' });
  await application`select acme.challenge_removed(${todo.id})`;
  expect(await application`select from acme.challenge_todo`).toHaveLength(0);
  await expect(application`select acme.challenge_published(${todo.id})`).rejects.toThrow(
    'nothing to publish',
  );
});

test('the responder answers only well-formed tokens that are published, and echoes nothing', async () => {
  const { ca, ...world } = await faultyWorld({ validationDelayMs: 60_000 });
  const worker = await world.worker();
  const base = `http://127.0.0.1:${worker.http01?.port}`;
  await world.insert({ names: [freshName()] });
  const { token, value } = await until(
    async () =>
      (
        await world.sql<{ token: string; value: string }[]>`
      select token, value from acme.record where state = 'published'`
      )[0],
    { what: 'a token is published' },
  );
  const right = await fetch(`${base}${PATH}${token}`);
  expect(right.status).toBe(200);
  expect(right.headers.get('content-type')).toBe('application/octet-stream');
  expect(await right.text()).toBe(value);
  expect((await fetch(`${base}${PATH}${token}`, { method: 'HEAD' })).status).toBe(200);
  const evil = '<script>alert(1)</script>';
  for (const path of [
    `${PATH}${'x'.repeat(43)}`,
    `${PATH}short`,
    `${PATH}${token}/`,
    `${PATH}${encodeURIComponent(evil)}`,
    `${PATH}../../etc/passwd`,
    `${PATH}${'x'.repeat(600)}`,
    '/',
    `/${token}`,
  ]) {
    const wrong = await fetch(`${base}${path}`);
    expect(wrong.status, path).toBe(404);
    expect(await wrong.text()).toBe('Nothing is published here.\n');
  }
  expect((await fetch(`${base}${PATH}${token}`, { method: 'POST', body: 'x' })).status).toBe(404);
  // Not HTTP at all ends the connection, not the responder.
  await new Promise<void>((resolve) => {
    const socket = connect(worker.http01?.port ?? 0, '127.0.0.1', () =>
      socket.end('\u0000\u0001 nonsense\r\n\r\n'),
    );
    socket
      .on('close', () => resolve())
      .on('error', () => undefined)
      .resume();
  });
  expect((await fetch(`${base}${PATH}${token}`)).status).toBe(200);
  expect(ca.count('newOrder')).toBe(1);
});

test('a flood of unknown tokens is answered by a bounded number of look-ups', async () => {
  const { ca, ...world } = await faultyWorld();
  const worker = await world.worker();
  // Held back, so that look-ups pile up.
  const lock = await world.sql.reserve();
  await lock`begin`;
  await lock`lock table acme_private.record in access exclusive mode`;
  const base = `http://127.0.0.1:${worker.http01?.port}${PATH}`;
  const statuses: number[] = [];
  const answers = Array.from({ length: 120 }, async (_, i) => {
    const { status } = await fetch(`${base}${String(i).padStart(43, 'x')}`);
    statuses.push(status);
  });
  await until(() => statuses.filter((status) => status === 503).length >= 88, {
    what: 'all beyond the bound are sent away',
  });
  const [asking] = await world.sql<[{ connections: number }]>`
    select count(*)::int as connections from pg_stat_activity
     where application_name = 'pgacme http-01' and datname = current_database()`;
  expect(asking.connections).toBeLessThanOrEqual(2);
  await lock`rollback`;
  lock.release();
  await Promise.all(answers);
  expect(statuses.filter((status) => status === 404)).toHaveLength(32);
  expect(ca.count('newOrder')).toBe(0);
});
