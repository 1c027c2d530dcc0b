import { createPrivateKey, randomInt, X509Certificate } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import type { PgacmeProcess } from '../helpers/process.ts';
import { finalizations } from '../helpers/recording-proxy/index.ts';
import { restartablePostgres } from '../helpers/restartable.ts';
import { scaled } from '../helpers/scale.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import { type CrashWorld, crashWorlds } from './crash-world.ts';

const TENANTS = 5;
const newWorld = crashWorlds({ nonceReject: 50 });

test('a storm: workers die all the time, PostgreSQL crashes, every second nonce is refused', async () => {
  const postgres = await restartablePostgres({ fsync: 'off' });
  const world = await newWorld(postgres.database);
  const count = scaled(200, 40);
  const keys = await insertAll(world, count);
  const storm = new Storm(world);
  try {
    await until(() => issued(world, count / 4), {
      what: 'a quarter is issued',
      timeoutMs: 120_000,
    });
    await postgres.crash();
    await until(() => issued(world, count), { what: 'all are issued', timeoutMs: 240_000 });
  } finally {
    await storm.end();
  }

  const certificates = await world.sql<{ ref: string; chain_pem: string }[]>`
    select ref, chain_pem from acme.current_certificate`;
  expect(certificates).toHaveLength(count);
  for (const { ref, chain_pem } of certificates) {
    const key = createPrivateKey(keys.get(ref) ?? '');
    expect(new X509Certificate(chain_pem).checkPrivateKey(key), ref).toBe(true);
  }
  const [stored] = await world.sql<{ count: number }[]>`
    select count(*)::int as count from acme.certificate`;
  expect(stored?.count).toBe(count);
  const finalized = [...finalizations(world.proxy.records).values()];
  expect(finalized.filter(({ succeeded }) => succeeded > 0)).toHaveLength(count);
  expect(finalized.filter(({ succeeded }) => succeeded > 1)).toEqual([]);
  process.stdout.write(
    `storm: ${count} certificates, ${storm.kills} workers killed, PostgreSQL crashed once, ` +
      `${world.proxy.records.length} requests, ${finalized.reduce((sum, { sent }) => sum + sent, 0)} times finalize was sent\n`,
  );
}, 600_000);

/** Three workers, of which one is killed and replaced again and again. */
class Storm {
  readonly #world: CrashWorld;
  readonly #workers: PgacmeProcess[];
  readonly #ended: Promise<void>;
  #ending = false;
  kills = 0;

  constructor(world: CrashWorld) {
    this.#world = world;
    this.#workers = Array.from({ length: 3 }, () => world.spawn());
    this.#ended = this.#rage();
  }

  async #rage(): Promise<void> {
    let started: Promise<unknown> = Promise.resolve();
    while (!this.#ending) {
      // At random moments, which is what this is about; nothing waits for a moment to come.
      await delay(randomInt(300, 1500));
      // On a slow machine workers would else die faster than they start. While PostgreSQL is away none does.
      await started;
      const victim = randomInt(this.#workers.length);
      await this.#workers[victim]?.kill('SIGKILL');
      const next = this.#world.spawn();
      this.#workers[victim] = next;
      this.kills += 1;
      started = next.waitForLine(/worker started/).catch(() => undefined);
    }
  }

  async end(): Promise<void> {
    this.#ending = true;
    await this.#ended;
    await Promise.all(this.#workers.map((worker) => worker.kill('SIGTERM')));
  }
}

/** Inserts the CSRs, the tenants in turn; returns each one's key by its ref. */
async function insertAll({ database }: CrashWorld, count: number): Promise<Map<string, string>> {
  const keys = new Map<string, string>();
  for (let tenant = 0; tenant < TENANTS; tenant++) {
    const rows: { ref: string; pem: string }[] = [];
    for (let i = tenant; i < count; i += TENANTS) {
      const { pem, keyPem } = await makeCsr({ names: [freshName()] });
      const ref = `csr-${i}`;
      rows.push({ ref, pem });
      keys.set(ref, keyPem);
    }
    const app = await database.as('acme_app', { login: `tenant_${tenant}` });
    await app`insert into acme.csr ${app(rows)}`;
  }
  return keys;
}

async function issued({ sql }: CrashWorld, wanted: number): Promise<true> {
  const rows = await sql<{ state: string; reason: string | null; count: number }[]>`
    select state, min(reason) as reason, count(*)::int as count from acme.csr_status group by state`;
  if ((rows.find(({ state }) => state === 'issued')?.count ?? 0) >= wanted) return true;
  throw new Error(rows.map((row) => `${row.count} ${row.state} (${row.reason})`).join('; '));
}
