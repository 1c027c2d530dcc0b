import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { ago, all, NEVER, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

const HOUR = 3_600_000;

interface Waiting {
  next_attempt_at: Date;
  waiting_since: Date | null;
}

/** The one row of this kind, once it waits for the server and nobody has it. */
async function waiting(sql: postgres.Sql, kind: string): Promise<Waiting> {
  return until(
    async () => {
      const [row] = await sql<Waiting[]>`
        select next_attempt_at, waiting_since from acme_private.${sql(kind)}
         where lease_token is null and reason_code = 'waiting_for_server' and next_attempt_at > now()`;
      return row;
    },
    { what: `the ${kind} waits for the server`, timeoutMs: 30_000 },
  );
}

for (const [kind, options] of [
  ['authorization', { validationDelayMs: HOUR }],
  ['order', { finalizeDelayMs: HOUR }],
] as const) {
  test.concurrent(
    `an ${kind} that takes the server long is asked for often at first, later once a turn and ever more seldom`,
    async ({ onTestFinished }) => {
      const { ca, sql, ...world } = await faultyWorld(options, onTestFinished);
      await world.worker();
      const id = await world.insert({ names: [freshName()] });
      await waiting(sql, kind);
      expect(ca.count(kind), 'the burst of the first turn').toBeGreaterThan(5);

      /** A turn of a row that began to wait so long ago: what it asked, and the row after it. */
      const turnAfter = async (age: string) => {
        const before = ca.count(kind);
        await sql.begin(async (tx) => {
          await set(tx, kind, all, { waiting_since: ago(age), next_attempt_at: ago('1 second') });
          await tx`select acme_private.enqueue(${kind}, id) from acme_private.${tx(kind)}`;
        });
        const row = await waiting(sql, kind);
        return { asked: ca.count(kind) - before, row };
      };
      const early = await turnAfter('10 minutes');
      expect(early.asked).toBe(1);
      const since = early.row.waiting_since?.getTime() ?? NaN;
      expect(early.row.next_attempt_at.getTime() - since).toBeGreaterThanOrEqual(660_000);
      const late = await turnAfter('1 day');
      expect(late.asked).toBe(1);
      const [pause] = await sql<[{ is_bounded: boolean }]>`
        select ${late.row.next_attempt_at} <= now() + interval '5 minutes' as is_bounded`;
      expect(pause.is_bounded).toBe(true);
      expect(await world.status(id)).toMatchObject({
        reason_code: 'waiting_for_server',
        reason: expect.stringContaining('less and less often') as string,
        next_attempt_at: late.row.next_attempt_at,
      });
    },
    60_000,
  );
}

test.concurrent(
  'a Retry-After of 0 does not make the server be asked without a pause',
  async ({ onTestFinished }) => {
    const { sql, ...world } = await faultyWorld(
      { validationDelayMs: HOUR, retryAfter: 0 },
      onTestFinished,
    );
    await world.worker();
    await world.insert({ names: [freshName()] });
    await waiting(sql, 'authorization');
    const [row] = await sql<[{ pause: string }]>`
      select extract(epoch from next_attempt_at - updated_at) as pause from acme_private.authorization`;
    expect(Number(row.pause)).toBe(3);
  },
  60_000,
);

test.concurrent(
  'a worker that stops does not have the server asked before its Retry-After, nor one that asked nothing wait',
  async ({ onTestFinished }) => {
    const { ca, sql, ...world } = await faultyWorld(
      { validationDelayMs: HOUR, retryAfter: 2 },
      onTestFinished,
    );
    const pauseAfterStop = async () => {
      const worker = await world.worker();
      const before = ca.count('authorization');
      await world.insert({ names: [freshName()] });
      // The look before the answer, and the first one after it, whose answer has been read.
      await until(() => ca.count('authorization') >= before + 2, { what: 'it is polled' });
      await until(
        async () =>
          (
            await sql`select from acme.server_feature where feature = 'retry_after_authorization' and how = 'seen'`
          ).length === 1,
        { what: 'it was seen whether the server says when to look again' },
      );
      await worker.stop();
      const polls = ca.count('authorization') - before;
      const [row] = await sql<[{ pause: string }]>`
        select extract(epoch from next_attempt_at - updated_at) as pause
          from acme_private.authorization order by id desc limit 1`;
      return { polls, pause: Number(row.pause) };
    };
    expect(await pauseAfterStop()).toEqual({ polls: 2, pause: 2 });
    ca.options.retryAfter = undefined;
    await set(sql, 'authorization', all, { next_attempt_at: NEVER });
    expect(await pauseAfterStop()).toMatchObject({ pause: 0 });
  },
  60_000,
);
