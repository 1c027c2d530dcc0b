import { expect, test } from 'vitest';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

const seconds = (from: Date, to: Date | null): number =>
  ((to?.getTime() ?? 0) - from.getTime()) / 1000;

test('a refused nonce is repeated at once with the nonce of the refusal', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('newOrder', { times: 3, problem: { type: 'badNonce', status: 400 } });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 5000);
  expect(ca.count('newOrder')).toBe(4);
  expect((await world.events(id)).filter((event) => event === 'order_created')).toHaveLength(1);
});

test('a server in trouble is tried again by itself, and what is waited for can be read meanwhile', async () => {
  const { ca, ...world } = await faultyWorld();
  const fault = ca.on('newOrder', {
    times: Infinity,
    problem: { type: 'serverInternal', status: 500, detail: 'out of paper' },
  });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  const waiting = await world.reach(id, 'retrying');
  expect(waiting.reason_code).toBe('remote_trouble');
  expect(waiting.reason).toContain('out of paper');
  expect(waiting.next_attempt_at).toBeInstanceOf(Date);
  expect(waiting.attempts).toBe(0);
  await until(() => fault.hits >= 2, { what: 'it is tried again' });
  fault.remove();
  await world.reach(id, 'issued', 20_000);
});

test('a connection cut after the order was made costs one unused order, not the certificate', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('newOrder', { cut: 'before-headers', phase: 'after' });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 20_000);
  expect(ca.count('newOrder')).toBe(2);
  expect(ca.count('finalize')).toBe(1);
});

test('a connection cut after finalize does not finalize twice', async () => {
  const { ca, ...world } = await faultyWorld({ finalizeDelayMs: 100 });
  ca.on('finalize', { cut: 'before-headers', phase: 'after' });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 20_000);
  expect(ca.count('newOrder')).toBe(1);
  expect(ca.count('finalize')).toBe(1);
});

test('a connection cut after the challenge was answered does not lose the order', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('challenge', { cut: 'before-headers', phase: 'after' });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 20_000);
  expect(ca.count('newOrder')).toBe(1);
});

test('an order that the server completes in 50 ms is not found 2 s later', async () => {
  const { ca, ...world } = await faultyWorld({ finalizeDelayMs: 50, validationDelayMs: 50 });
  await world.worker();
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued');
  const answered = ca.seen.findLast(({ resource }) => resource === 'challenge')?.at ?? 0;
  const finalized = ca.seen.findLast(({ resource }) => resource === 'finalize')?.at ?? 0;
  const downloaded = ca.seen.findLast(({ resource }) => resource === 'certificate')?.at ?? 0;
  // Not a measure of speed, but the promise: waits shorter than 3 s do not go through the queue's poll.
  expect(finalized - answered).toBeLessThan(2000);
  expect(downloaded - finalized).toBeLessThan(2000);
});

test("the server's Retry-After is heeded, and polling goes on afterwards", async () => {
  const { ca, ...world } = await faultyWorld({ validationDelayMs: 1500, retryAfter: 2 });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 20_000);
  const polls = ca.seen.filter(({ resource }) => resource === 'authorization');
  expect(polls.length).toBeLessThanOrEqual(3);
});

test('a 503 with Retry-After that is not JSON closes the server for new orders', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  await world.reach(await world.insert({ names: [freshName()] }), 'issued');
  ca.on('newOrder', { status: 503, html: true, headers: { 'Retry-After': '2' } });
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'limited');
  await world.reach(id, 'issued', 20_000);
});

test('a failed validation is tried again by the ladder, and retry() does not wait for it', async () => {
  const { ca, ...world } = await faultyWorld({
    validation: { type: 'connection', detail: 'nobody listens on port 80' },
  });
  await world.worker();
  const name = freshName();
  const id = await world.insert({ names: [name] });
  const startedAt = new Date();
  const waiting = await world.reach(id, 'retrying');
  expect(waiting).toMatchObject({ reason_code: 'validation_failed', attempts: 1 });
  expect(waiting.reason).toContain(name);
  expect(waiting.reason).toContain('nobody listens on port 80');
  expect(waiting.last_problem).toMatchObject({ detail: 'nobody listens on port 80' });
  expect(seconds(startedAt, waiting.next_attempt_at)).toBeGreaterThan(50);
  expect(seconds(startedAt, waiting.next_attempt_at)).toBeLessThan(75);
  await world.sql`select acme.retry(${id})`;
  const again = await until(
    async () => {
      const row = await world.status(id);
      return row.state === 'retrying' && row.next_attempt_at! > waiting.next_attempt_at! && row;
    },
    { what: 'the second try failed' },
  );
  expect(seconds(startedAt, again.next_attempt_at)).toBeGreaterThan(500);
  ca.options.validation = 'fetch';
  await world.sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
  expect(ca.count('newOrder')).toBe(3);
});

test('retry() does not go past the number of failed validations that servers allow', async () => {
  const { ca, ...world } = await faultyWorld({
    validation: { type: 'dns', detail: 'no such name' },
  });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  for (let failures = 1; failures <= 5; failures++) {
    await until(() => ca.count('challenge') === failures, { what: `try ${failures}` });
    await world.reach(id, 'retrying');
    await world.sql`select acme.retry(${id})`;
  }
  const held = await until(
    async () => {
      const row = await world.status(id);
      return row.reason_code === 'failure_limit' && row;
    },
    { what: 'the limit holds' },
  );
  expect(seconds(new Date(), held.next_attempt_at)).toBeGreaterThan(500);
  expect(ca.count('challenge')).toBe(5);
});

test('an order that is gone is made anew at once', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.on('authorization', {
    problem: { type: 'malformed', status: 404, detail: 'no such authorization' },
  });
  // Its URL is not minutes old: a replica that lags behind would know it.
  await world.sql`
    alter table acme_private.authorization alter created_at set default now() - interval '11 minutes'`;
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  await world.reach(id, 'issued', 10_000);
  expect(ca.count('newOrder')).toBe(2);
  expect(await world.events(id)).toContain('order_failed');
});

test('a name that the server refuses for good ends as failed, with its problem and subproblems', async () => {
  const name = freshName('blocked');
  const { ca, ...world } = await faultyWorld({ blockedNames: [name] });
  await world.worker();
  const id = await world.insert({ names: [name, freshName()] });
  const failed = await world.reach(id, 'failed');
  expect(failed.reason_code).toBe('refused_for_good');
  expect(failed.next_attempt_at).toBeNull();
  expect(failed.last_problem).toMatchObject({
    type: 'urn:ietf:params:acme:error:rejectedIdentifier',
    subproblems: [{ identifier: { type: 'dns', value: name } }],
  });
  ca.options.blockedNames = [];
  await world.sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
});

test('a certificate for another key is not stored; the event keeps it, and it is tried again', async () => {
  const { ca, ...world } = await faultyWorld();
  ca.options.certificate = { wrongKey: true };
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  const refused = await world.reach(id, 'retrying');
  expect(refused.reason_code).toBe('certificate_mismatch');
  expect(await world.sql`select from acme.certificate`).toHaveLength(0);
  const [event] = await world.sql<[{ pem: string }]>`
    select detail #>> '{problem,pem}' as pem from acme.event where csr_id = ${id} and event = 'order_failed'`;
  expect(event.pem).toContain('BEGIN CERTIFICATE');
  ca.options.certificate = {};
  await world.sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
});

test('a name with a dot at its end is refused before anything is ordered', async () => {
  const { ca, ...world } = await faultyWorld();
  await world.worker();
  const id = await world.insert({ names: [`${freshName()}.`] });
  expect(await world.reach(id, 'rejected')).toMatchObject({ reason_code: 'name_invalid' });
  expect(ca.count('newOrder')).toBe(0);
});

test('an authorization that is offered only with other challenges asks for a person', async () => {
  const { ca, ...world } = await faultyWorld({ offeredChallenges: ['dns-01'] });
  await world.worker();
  const id = await world.insert({ names: [freshName()] });
  const row = await world.reach(id, 'needs_person');
  expect(row.reason_code).toBe('no_solver');
  expect(row.reason).toContain('dns-01');
  expect(ca.count('challenge')).toBe(0);
});
