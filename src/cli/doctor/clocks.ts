import type { Sql } from '../../db/steps/connect.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';
import type { Asked } from './servers.ts';

const WARN_MS = 10_000;
const WRONG_MS = 60_000;

/** The clocks of this machine and of the database against those of the ACME servers. */
export function clocksCheck(asked: Promise<Asked[]>): Check {
  return {
    name: 'Clocks',
    async run({ sql, facts }) {
      if (sql === undefined || facts === undefined) return [];
      const databaseAhead = await aheadOf(sql);
      const found: Finding[] = [];
      let compared = 0;
      for (const { server, clockAheadMs } of await asked) {
        if (clockAheadMs === undefined) continue;
        compared += 1;
        found.push(
          ...difference('The clock of this machine', -clockAheadMs, `that of ${server.name}`),
          ...difference(
            'The clock of the database',
            databaseAhead - clockAheadMs,
            `that of ${server.name}`,
          ),
        );
      }
      // Renewals are scheduled by the database's clock, deadlines kept by the machine's.
      if (compared === 0) {
        found.push(
          ...difference('The clock of the database', databaseAhead, 'that of this machine'),
        );
      }
      if (found.length > 0) return found;
      return [
        ok(
          compared === 0
            ? 'Those of this machine and of the database agree; no ACME server told its own.'
            : 'Those of this machine, of the database and of the ACME servers agree.',
        ),
      ];
    },
  };
}

/** What a difference means; none below ten seconds. */
export function difference(whose: string, aheadMs: number, other: string): Finding[] {
  const off = Math.abs(aheadMs);
  if (off < WARN_MS) return [];
  const text = `${whose} is ${Math.round(off / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} ${other}. Keep time with NTP on both.`;
  return [off < WRONG_MS ? warning(text) : problem(text)];
}

async function aheadOf(sql: Sql): Promise<number> {
  const askedAt = Date.now();
  const [row] = await sql<[{ ms: number }]>`
    select extract(epoch from clock_timestamp())::float8 * 1000 as ms`;
  return row.ms - (askedAt + Date.now()) / 2;
}
