import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import type { Sql } from './connect.ts';

type Query = Promise<readonly Record<string, unknown>[]> & { handle: () => unknown };

/** How long it is tried to find what a lost answer handed over; by then its leases have run out. */
const TRY_MS = 60_000;
const PAUSE_MS = 500;

interface Lease {
  kind: string;
  id: number;
  lease: string;
}

/**
 * Commits whose answer was lost. Each may have been made, and may have handed rows to this worker that it never
 * hears of. It is not repeated: what this worker holds and does not know of is looked up and given back, so
 * that the work goes on by new claims, a second later rather than when the leases run out.
 */
export class LostAnswers {
  /** Like the pool that was given; what its answers hand over is known. */
  readonly sql: Sql;
  readonly #pool: Sql;
  readonly #worker: number;
  readonly #giveBack: (lease: Lease) => Promise<void>;
  readonly #known = new Map<string, number>();
  readonly #underWay = new Set<Promise<unknown>>();
  #lostAt: number | undefined;
  #isLooking = false;

  constructor(pool: Sql, worker: number, giveBack: (lease: Lease) => Promise<void>) {
    this.#pool = pool;
    this.#worker = worker;
    this.#giveBack = giveBack;
    this.sql = new Proxy(pool, {
      apply: (target, self, values: Parameters<Sql>) => {
        const made: unknown = Reflect.apply(target, self, values);
        if (made instanceof Promise) this.#watch(made as Query);
        return made;
      },
    });
  }

  /** The work under this lease is over. */
  forget(lease: string): void {
    const times = (this.#known.get(lease) ?? 0) - 1;
    if (times > 0) this.#known.set(lease, times);
    else this.#known.delete(lease);
  }

  #watch(query: Query): void {
    const handle = query.handle.bind(query);
    let isSent = false;
    query.handle = () => {
      if (!isSent) {
        isSent = true;
        const end = (Promise.prototype.then as Query['then']).call(
          query,
          (rows) => this.#learn(rows),
          (error: unknown) => {
            if (isLost(error)) this.#lost();
          },
        );
        this.#underWay.add(end);
        void end.then(() => this.#underWay.delete(end));
      }
      return handle();
    };
  }

  #learn(rows: Awaited<Query>): void {
    for (const lease of leasesIn(rows[0]?.['value'])) {
      this.#known.set(lease, (this.#known.get(lease) ?? 0) + 1);
    }
  }

  #lost(): void {
    this.#lostAt = performance.now();
    if (!this.#isLooking) void this.#look();
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    const startedAt = performance.now();
    while (this.#lostAt !== undefined && performance.now() - startedAt < TRY_MS) {
      const lostAt = this.#lostAt;
      this.#lostAt = undefined;
      // What they hand over is known once they are answered.
      await Promise.all([...this.#underWay]);
      try {
        for (const lease of await this.#unknown(lostAt)) await this.#giveBack(lease);
      } catch {
        this.#lostAt ??= lostAt;
        await delay(PAUSE_MS);
      }
    }
    this.#isLooking = false;
  }

  async #unknown(lostAt: number): Promise<Lease[]> {
    const known = `{${[...this.#known.keys()].join()}}`;
    const age = `${Math.round(performance.now() - lostAt)} milliseconds`;
    const rows = await this.#pool<{ kind: string; id: string; lease: string }[]>`
      select kind, id, lease from acme_private.unknown_leases(${this.#worker}, ${known}, ${age})`;
    return rows.map((row) => ({ ...row, id: Number(row.id) }));
  }
}

/** Whether the statement may have been done although it failed here. */
function isLost(error: unknown): boolean {
  return !(error instanceof postgres.PostgresError) || error.severity === 'FATAL';
}

/** Of a claim, of claims, or of a turn of the dispatcher. */
function leasesIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(leasesIn);
  if (typeof value !== 'object' || value === null) return [];
  const { lease, claims, received } = value as Record<string, unknown>;
  return [
    ...(typeof lease === 'string' ? [lease] : []),
    ...leasesIn(claims),
    ...leasesIn(received),
  ];
}
