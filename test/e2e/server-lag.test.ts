import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import type { AcmeServer } from '../helpers/acme-server/index.ts';
import { age, ago, all, dueNow, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

const HOUR = 3_600_000;
type Kind = 'order' | 'authorization';

/** The row of this kind, once it waits with this reason and nobody has it. */
async function waiting(sql: postgres.Sql, kind: Kind, reason: RegExp): Promise<void> {
  await until(
    async () => {
      const rows = await sql<{ reason: string }[]>`
        select coalesce(reason, '') as reason from acme_private.${sql(kind)}
         where lease_token is null and next_attempt_at > now()`;
      if (rows.some((row) => reason.test(row.reason))) return true;
      throw new Error(JSON.stringify(rows));
    },
    { what: `the ${kind} waits`, timeoutMs: 30_000 },
  );
}

/** As if that long had passed since a row began to wait, or was made; it is due now. */
async function later(sql: postgres.Sql, kind: Kind, interval: string): Promise<void> {
  await sql.begin(async (tx) => {
    await age(tx, kind, all, interval, 'created_at', 'waiting_since');
    if (kind === 'order') await age(tx, kind, all, interval, 'made_at');
    await dueNow(tx, kind, all);
    await tx`select acme_private.enqueue(${kind}, id) from acme_private.${tx(kind)}`;
  });
}

/** A csr whose order the CA has in processing, and keeps so. */
async function inProcessing(
  atEnd: Parameters<typeof faultyWorld>[1],
): Promise<World & { ca: AcmeServer; id: string; name: string }> {
  const world = await faultyWorld({ finalizeDelayMs: HOUR }, atEnd);
  await world.worker();
  const name = freshName();
  const id = await world.insert({ names: [name] });
  await waiting(world.sql, 'order', /issuing/);
  return { ...world, id, name };
}

test.concurrent(
  'an order that stays pending for ten minutes after its names were proved is given up, with a sentence',
  async ({ onTestFinished }) => {
    const { ca, ...world } = await faultyWorld({ orderLagMs: HOUR }, onTestFinished);
    await world.worker();
    const id = await world.insert({ names: [freshName()] });
    await waiting(world.sql, 'order', /names are proved/);
    await later(world.sql, 'order', '9 minutes');
    await waiting(world.sql, 'order', /names are proved/);
    expect(ca.count('newOrder')).toBe(1);
    ca.options.orderLagMs = 0;
    ca.on('finalize', { problem: { type: 'orderNotReady', status: 403 } });
    ca.on('order', { rewrite: (json) => ({ ...json, status: 'pending' }), times: 2 });
    await later(world.sql, 'order', '2 minutes');
    await world.reach(id, 'issued', 30_000);
    expect(ca.count('newOrder')).toBe(2);
    const [event] = await world.sql<[{ reason: string }]>`
      select detail ->> 'reason' as reason from acme.event where csr_id = ${id} and event = 'order_failed'`;
    expect(event.reason).toContain('stayed pending for ten minutes');
  },
  90_000,
);

test.concurrent(
  'an order that is still ready ten minutes after its CSR was taken is sent it again, and never made anew',
  async ({ onTestFinished }) => {
    const { ca, ...world } = await faultyWorld({}, onTestFinished);
    // It takes the CSR, and forgets that it did.
    const ready = (json: Record<string, unknown>) => ({
      ...json,
      status: 'ready',
      certificate: undefined,
    });
    const finalize = ca.on('finalize', { rewrite: ready });
    const order = ca.on('order', { rewrite: ready, times: Infinity });
    await world.worker();
    const id = await world.insert({ names: [freshName()] });
    await waiting(world.sql, 'order', /issuing/);
    await later(world.sql, 'order', '9 minutes');
    await waiting(world.sql, 'order', /issuing/);
    expect(ca.count('finalize')).toBe(1);
    await later(world.sql, 'order', '2 minutes');
    await until(() => ca.count('finalize') === 2, { what: 'it is sent again', timeoutMs: 30_000 });
    order.remove();
    finalize.remove();
    await later(world.sql, 'order', '1 second');
    await world.reach(id, 'issued', 30_000);
    expect(ca.count('newOrder')).toBe(1);
    expect(ca.store.certificates.size).toBe(1);
  },
  90_000,
);

test.concurrent(
  'a finalized order that is not found is asked for until it expires',
  async ({ onTestFinished }) => {
    const { ca, sql, id, ...world } = await inProcessing(onTestFinished);
    ca.options.unknownForMs = { order: HOUR };
    ca.store.firstAsked.clear();
    await later(sql, 'order', '2 hours');
    await waiting(sql, 'order', /asked again until/);
    expect((await world.status(id)).reason).toContain('asked again until');
    expect(ca.count('newOrder')).toBe(1);
    ca.options.finalizeDelayMs = 0;
    ca.options.unknownForMs = {};
    const missing = ca.on('order', { status: 404, html: true });
    await set(sql, 'order', all, { expires_at: ago('1 minute') });
    await later(sql, 'order', '0 s');
    await world.reach(id, 'issued', 30_000);
    expect(missing.hits).toBe(1);
    expect(ca.count('newOrder')).toBe(2);
  },
  90_000,
);

test.concurrent(
  'an order whose answers never tell its authorizations is read for ten minutes, then left',
  async ({ onTestFinished }) => {
    const { ca, ...world } = await faultyWorld({}, onTestFinished);
    for (const resource of ['newOrder', 'order'] as const) {
      ca.on(resource, { rewrite: (json) => ({ ...json, authorizations: null }), times: Infinity });
    }
    await world.worker();
    const id = await world.insert({ names: [freshName()] });
    await waiting(world.sql, 'order', /no authorizations/);
    await later(world.sql, 'order', '9 minutes');
    await waiting(world.sql, 'order', /no authorizations/);
    expect(ca.count('newOrder')).toBe(1);
    await later(world.sql, 'order', '2 minutes');
    expect(await world.reach(id, 'retrying', 30_000)).toMatchObject({
      reason_code: expect.stringMatching(/remote_trouble|server_refused/) as string,
    });
    await until(async () => (await world.status(id)).reason_code === 'server_refused', {
      what: 'it is left',
    });
    expect(ca.count('newOrder')).toBe(1);
  },
  90_000,
);

test.concurrent(
  'a csr cancelled while its order is processing is free at once, and the order is left when it ends without a certificate',
  async ({ onTestFinished }) => {
    const { ca, sql, id, name, ...world } = await inProcessing(onTestFinished);
    await sql`select acme.cancel(${id})`;
    await world.reach(id, 'cancelled', 10_000);
    // Its names and its slot are free.
    ca.options.finalizeDelayMs = 0;
    const next = await world.insert({ names: [name] });
    await world.reach(next, 'issued', 30_000);
    const [open] = await sql<[{ watched: number }]>`
      select count(*)::int as watched from acme_private."order" where watched_until > now() and not is_live`;
    expect(open.watched).toBe(1);

    // Its end at the server is the watch's.
    const [order] = ca.store.orders.values();
    if (order === undefined) throw new Error('There is no order.');
    order.state = 'invalid';
    expect(await sql`select from acme.certificate where csr_id = ${id}`).toHaveLength(0);
    await later(sql, 'order', '1 minute');
    await until(
      async () =>
        (await sql`select from acme_private."order" where watched_until is not null`).length === 0,
      { what: 'the order is left', timeoutMs: 30_000 },
    );
    expect((await world.status(id)).state).toBe('cancelled');
  },
  90_000,
);

test.concurrent(
  'a certificate that comes after its csr was cancelled is nobody’s, and its event revokes it',
  async ({ onTestFinished }) => {
    const world = await faultyWorld({ finalizedLagMs: HOUR }, onTestFinished);
    const { ca, sql } = world;
    await world.worker();
    const name = freshName();
    const id = await world.insert({ names: [name] });
    await waiting(sql, 'order', /issuing/);
    await sql`select acme.cancel(${id})`;
    await world.reach(id, 'cancelled', 10_000);
    ca.options.finalizedLagMs = 0;
    await later(sql, 'order', '1 minute');
    const event = await until(
      async () => {
        const [row] = await sql<{ revoke: string; certificate_id: string }[]>`
          select detail ->> 'revoke' as revoke, certificate_id from acme.event where event = 'unwanted_certificate'`;
        return row;
      },
      { what: 'the certificate is stored', timeoutMs: 30_000 },
    );
    expect(await sql`select state, is_unwanted from acme.certificate`).toEqual([
      { state: 'superseded', is_unwanted: true },
    ]);
    expect(await sql`select from acme.certificate_name`).toHaveLength(0);
    expect(await sql`select from acme.current_certificate`).toHaveLength(0);
    expect(await world.status(id)).toMatchObject({ state: 'cancelled', has_certificate: false });
    await sql.unsafe(event.revoke);
    await until(
      async () => (await sql`select from acme.certificate where state = 'revoked'`).length === 1,
      { what: 'it is revoked', timeoutMs: 30_000 },
    );
    expect(await sql`select from acme.stuck`).toHaveLength(0);
  },
  90_000,
);

for (const what of ['cancelled', 'wanted']) {
  test.concurrent(
    `an order whose CSR the server has, ${what}, outlasts terms that a person has to agree to`,
    async ({ onTestFinished }) => {
      const { ca, sql, ...world } = await faultyWorld({ finalizedLagMs: HOUR }, onTestFinished);
      await world.worker();
      const id = await world.insert({ names: [freshName()] });
      await waiting(sql, 'order', /issuing/);
      if (what === 'cancelled') {
        await sql`select acme.cancel(${id})`;
        await world.reach(id, 'cancelled', 10_000);
      }
      ca.on('order', {
        problem: { type: 'userActionRequired', status: 403, detail: 'New terms.' },
      });
      await later(sql, 'order', '1 minute');
      await until(
        async () =>
          (await sql`select from acme.account_status where reason_code = 'user_action_required'`)
            .length === 1,
        { what: 'the account waits for a person', timeoutMs: 30_000 },
      );
      ca.options.finalizedLagMs = 0;
      await sql`select acme.agree_terms('main')`;
      await until(
        async () => (await sql`select from acme.account_status where state = 'valid'`).length === 1,
        { what: 'the account is back', timeoutMs: 30_000 },
      );
      await later(sql, 'order', '1 minute');
      await until(
        async () => (await sql`select from acme.certificate where csr_id = ${id}`).length === 1,
        { what: 'its certificate is stored', timeoutMs: 30_000 },
      );
      expect(ca.count('newOrder')).toBe(1);
    },
    90_000,
  );
}

test.concurrent(
  'an order of a cancelled csr that the server gives to another csr brings one certificate, which is wanted',
  async ({ onTestFinished }) => {
    const { ca, sql, ...world } = await faultyWorld({ finalizedLagMs: HOUR }, onTestFinished);
    await world.worker();
    const { pem } = await makeCsr({ names: [freshName()] });
    const first = await world.insert({ pem });
    await waiting(sql, 'order', /issuing/);
    await sql`select acme.cancel(${first})`;
    await world.reach(first, 'cancelled', 10_000);
    const [{ url }] = await sql<[{ url: string }]>`select url from acme_private."order"`;
    ca.on('newOrder', {
      status: 201,
      headers: { location: url },
      body: JSON.stringify({ status: 'processing', authorizations: [] }),
    });
    const second = await world.insert({ pem });
    await until(
      async () =>
        (await sql`select from acme_private."order" where state = 'finalizing'`).length === 1,
      { what: 'it is given to the second', timeoutMs: 30_000 },
    );
    ca.options.finalizedLagMs = 0;
    await later(sql, 'order', '1 minute');
    await world.reach(second, 'issued', 30_000);
    expect(await sql`select csr_id, is_unwanted from acme.certificate`).toEqual([
      { csr_id: second, is_unwanted: false },
    ]);
    expect(await sql`select reason from acme.order where csr_id = ${first}`).toEqual([
      { reason: expect.stringContaining(`gave the same order to csr ${second}`) as string },
    ]);
    expect(await sql`select from acme.stuck`).toHaveLength(0);
  },
  90_000,
);

test.concurrent(
  'an order of a cancelled csr that workers died over is left alone for an hour, and then watched again',
  async ({ onTestFinished }) => {
    const { ca, sql, ...world } = await faultyWorld({ finalizedLagMs: HOUR }, onTestFinished);
    await world.worker();
    const id = await world.insert({ names: [freshName()] });
    await waiting(sql, 'order', /issuing/);
    await sql`select acme.cancel(${id})`;
    await world.reach(id, 'cancelled', 10_000);
    await set(sql, 'order', all, { claims: 6 });
    await later(sql, 'order', '1 minute');
    await until(async () => (await world.events(id)).includes('set_aside'), {
      what: 'it is left alone',
      timeoutMs: 30_000,
    });
    ca.options.finalizedLagMs = 0;
    await later(sql, 'order', '1 hour');
    await until(
      async () => (await sql`select from acme.certificate where csr_id = ${id}`).length === 1,
      { what: 'its certificate is stored', timeoutMs: 30_000 },
    );
  },
  90_000,
);
