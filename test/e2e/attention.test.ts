import { randomBytes } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { makeLogger } from '../../src/log.ts';
import { spawnPgacme } from '../helpers/process.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

vi.setConfig({ testTimeout: 120_000 });

interface Line {
  level: number;
  msg: string;
  csr?: number;
  ref?: string;
  names?: string[];
  reason?: string;
}

/** A logger, and the lines that were written. */
function logOf(): { log: ReturnType<typeof makeLogger>; lines: Line[] } {
  const lines: Line[] = [];
  return {
    log: makeLogger('info', { write: (line: string) => lines.push(JSON.parse(line) as Line) }),
    lines,
  };
}

test('each failed validation and each issuance is one line of the log, with csr, ref and names', async () => {
  const { sql, ca, ...world } = await faultyWorld();
  const { log, lines } = logOf();
  const good = freshName('good');
  const bad = freshName('bad');
  await world.worker({ log });
  const issued = await world.insert({ names: [good] }, { ref: 'shop-1' });
  await world.reach(issued, 'issued');
  ca.options.validation = {
    type: 'connection',
    detail: `203.0.113.5: Fetching http://${bad}/.well-known/acme-challenge/token: Timeout during connect`,
  };
  const failed = await world.insert({ names: [bad] }, { ref: 'shop-2' });
  await world.reach(failed, 'retrying');
  const of = (csr: string) => lines.filter((line) => String(line.csr) === csr);
  expect(of(issued)).toEqual([
    expect.objectContaining({
      level: 30,
      msg: 'certificate issued',
      ref: 'shop-1',
      names: [good],
    }),
  ]);
  expect(of(failed)).toEqual([
    expect.objectContaining({ level: 30, msg: 'validation failed', ref: 'shop-2', names: [bad] }),
  ]);
  // The cause comes first in what is shown, and explain tells it once.
  const { reason } = await world.status(failed);
  expect(reason).toBe(
    `connection: 203.0.113.5: Fetching …: Timeout during connect (${bad} could not be validated by http-01) (http://${bad}/.well-known/acme-challenge/token).`,
  );
  const [told] = await sql<[{ text: string }]>`select acme.explain(${failed}) as text`;
  expect(told.text.split(reason ?? '?')).toHaveLength(2);
  const attention = await sql`select code, severity, sentence from acme.attention`;
  expect([...attention]).toEqual([
    { code: 'validation_failed', severity: 'warning', sentence: reason },
  ]);
});

test('a worker whose sealing key opens no account key says so at once, and the others go on', async () => {
  const { sql, ...world } = await faultyWorld();
  const right = await world.worker();
  await until(
    async () => (await sql`select from acme.account_status where state = 'valid'`).length === 1,
    { what: 'the account is registered' },
  );
  const { log, lines } = logOf();
  const wrong = await world.worker({
    secretKey: randomBytes(32).toString('base64'),
    http01Listen: undefined,
    log,
  });
  expect([
    ...(await sql`select id::int, state, http01 is not null as answers from acme.worker_status order by id`),
  ]).toEqual([
    { id: right.id, state: 'running', answers: true },
    { id: wrong.id, state: 'wrong_key', answers: false },
  ]);
  expect([...(await sql`select code, worker::int from acme.attention`)]).toEqual([
    { code: 'worker_key_wrong', worker: wrong.id },
  ]);
  expect(lines.filter(({ level }) => level >= 50).map(({ msg }) => msg)).toEqual([
    expect.stringContaining('opens no account key') as string,
  ]);
  await wrong.stop();
  expect([...(await sql`select code from acme.attention`)]).toEqual([]);
});

test('workers tell how far their clocks are off, and none that answers http-01 is missed', async () => {
  const { sql, ...world } = await faultyWorld();
  await world.worker({ http01Listen: undefined });
  expect([...(await sql`select code, severity from acme.attention`)]).toEqual([
    { code: 'no_http01_responder', severity: 'critical' },
  ]);
  const [row] = await sql<[{ seconds: number }]>`
    select abs(extract(epoch from clock_ahead))::float8 as seconds from acme.worker_status`;
  expect(row.seconds).toBeLessThan(10);
  await sql`select acme_private.worker_beat(id, 'pool', '1 hour', now() + interval '1 day') from acme_private.worker`;
  expect([...(await sql`select code from acme.attention where code = 'clock_off'`)]).toHaveLength(
    1,
  );
});

test('the only worker, killed, is lost as soon as its connection is gone', async () => {
  const { sql, database, secretKey } = await faultyWorld();
  const { url: DATABASE_URL } = await database.login('acme_worker');
  const worker = spawnPgacme(['worker'], { DATABASE_URL, PGACME_SECRET_KEY: secretKey });
  await worker.waitForLine(/worker started/, 60_000);
  const state = async () =>
    (await sql<{ state: string }[]>`select state from acme.worker_status`)[0]?.state;
  expect(await state()).toBe('running');
  await worker.kill('SIGKILL');
  await until(async () => (await state()) !== 'running', {
    what: 'it counts as gone',
    timeoutMs: 60_000,
  });
  expect(await state()).toBe('lost');
});
