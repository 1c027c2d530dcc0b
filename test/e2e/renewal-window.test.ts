import { expect, test } from 'vitest';
import type { AcmeServer } from '../helpers/acme-server/index.ts';
import { renewalDue, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const at = (ms: number) => new Date(Math.floor((Date.now() + ms) / 1000) * 1000);
const window = (start: number, end: number) => ({
  start: at(start).toISOString(),
  end: at(end).toISOString(),
});

/** A certificate at a server that has renewal information. */
async function issuedWorld(): Promise<World & { ca: AcmeServer; csr: string }> {
  const world = await faultyWorld({ renewalInfo: true });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued');
  return { ...world, csr };
}

const isReplacing = ({ payload }: { payload?: unknown }) =>
  (payload as { replaces?: unknown } | undefined)?.replaces !== undefined;
const renewals = ({ ca }: { ca: AcmeServer }) =>
  ca.seen.filter((one) => one.resource === 'newOrder' && isReplacing(one)).length;

/** Its renewal is due by the clock. */
async function fallDue({ sql, csr }: World & { csr: string }): Promise<void> {
  await renewalDue(sql, csr);
  await sql`select acme_private.reconcile()`;
}

async function waits({ sql, csr }: World & { csr: string }) {
  return until(
    async () => {
      const [row] = await sql<
        { renew_at: Date; reason: string; state: string; next_attempt_at: Date | null }[]
      >`select renew_at, reason, state, next_attempt_at
          from acme.csr_status where id = ${csr} and reason_code = 'renewal_window'`;
      return row;
    },
    { what: 'its renewal waits' },
  );
}

async function isRenewed({ sql, csr }: World & { csr: string }): Promise<void> {
  await until(
    async () => (await sql`select from acme.certificate where csr_id = ${csr}`).length === 2,
    { what: 'it is renewed' },
  );
}

/** A window of the server, and the earliest and latest time that is drawn from it. */
const windows: Record<string, { window: ReturnType<typeof window>; from: Date; to: Date }> = {
  'two days long: short of its last third': {
    window: window(DAY, 4 * DAY),
    from: at(DAY),
    to: at(3 * DAY),
  },
  'four hours long: short of its last two': {
    window: window(DAY, DAY + 4 * HOUR),
    from: at(DAY),
    to: at(DAY + 2 * HOUR),
  },
  'an hour long: its start': { window: window(DAY, DAY + HOUR), from: at(DAY), to: at(DAY) },
  'behind the end of the certificate: while there is time left': {
    window: window(500 * DAY, 502 * DAY),
    from: at(74 * DAY),
    to: at(76 * DAY),
  },
};

test('a renewal that is due before the window of its server waits for a time in that', async () => {
  const world = await issuedWorld();
  const { ca, sql, csr } = world;
  const [planned] = await sql`select planned_renewal_at from acme_private.certificate`;
  for (const [name, { window: suggested, from, to }] of Object.entries(windows)) {
    ca.options.renewalWindow = suggested;
    await set(sql, 'csr', csr, { reason_code: null, reason: null });
    await fallDue(world);
    const row = await waits(world);
    expect(row.state, name).toBe('issued');
    expect(row.renew_at.getTime(), name).toBeGreaterThanOrEqual(from.getTime() - 2000);
    expect(row.renew_at.getTime(), name).toBeLessThanOrEqual(to.getTime() + 120_000);
    expect(row.reason).toContain(suggested.start.slice(0, 10));
  }
  expect(renewals(world)).toBe(0);
  // No slot is held meanwhile, and the time that was planned first is not forgotten.
  expect(await sql`select from acme."order" where finished_at is null`).toEqual([]);
  expect(await sql`select planned_renewal_at from acme_private.certificate`).toEqual([planned]);
  expect(await world.events(csr)).toContain('renewal_waits');

  ca.options.renewalWindow = window(-DAY, DAY);
  await fallDue(world);
  await isRenewed(world);
  expect(renewals(world)).toBe(1);
});

/** What a server may answer in place of a window: the renewal goes on. */
const silences: Record<string, (ca: AcmeServer) => void> = {
  'an error': (ca) => {
    ca.on('renewalInfo', { html: true, status: 500, times: Infinity });
  },
  'that it does not know the certificate': (ca) => {
    const problem = { type: 'malformed', status: 404, detail: 'unknown' };
    ca.on('renewalInfo', { problem, times: Infinity });
  },
  'a window that ends before it begins': (ca) => {
    ca.options.renewalWindow = window(2 * DAY, DAY);
  },
  'a cut connection': (ca) => {
    ca.on('renewalInfo', { cut: 'before-headers', times: Infinity });
  },
};

test.each(Object.entries(silences))(
  'a server that answers %s is not waited for',
  async (_, fail) => {
    const world = await issuedWorld();
    fail(world.ca);
    await fallDue(world);
    await isRenewed(world);
    expect(renewals(world)).toBe(1);
  },
);

test('a renewal that was asked for does not wait', async () => {
  const world = await issuedWorld();
  world.ca.options.renewalWindow = window(DAY, 2 * DAY);
  await fallDue(world);
  await waits(world);
  await world.sql`select acme.renew(${world.csr})`;
  await isRenewed(world);
  expect(renewals(world)).toBe(1);
});
