import { createPrivateKey, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeLogger } from '../../src/log.ts';
import { startHttp01 } from '../../src/solver/http01.ts';
import { startWorker } from '../../src/worker.ts';
import { pebbleForTests, type TestPebble } from '../helpers/pebble.ts';
import {
  finalizations,
  type RecordingProxy,
  startRecordingProxy,
} from '../helpers/recording-proxy/index.ts';
import { addressOf, type RoughProxy, startRoughProxy, through } from '../helpers/rough-proxy.ts';
import { scale, scaled } from '../helpers/scale.ts';
import { until } from '../helpers/until.ts';
import { freshName, type World, worldWith } from '../helpers/world.ts';
import { type Inserted, insertWithKey } from './certificates.ts';

const WAIT_MS = 600_000;
const FAULTS = { cut: 0.01, freeze: 0.003, delay: 0.1, split: 0.1 };

let pebble: TestPebble;
let answering: World | undefined;
let stopResponder: () => Promise<void>;

beforeAll(async () => {
  pebble = await pebbleForTests();
  // Whether the CA can validate is no matter of the network between workers, database and CA.
  const responder = await startHttp01({
    host: '127.0.0.1',
    port: pebble.httpPort,
    async lookUp(token) {
      if (answering === undefined) return null;
      const [row] = await answering.sql<{ value: string | null }[]>`
        select acme.http01_response(${token}) as value`;
      return row?.value ?? null;
    },
  });
  stopResponder = () => responder.stop();
});
afterAll(() => stopResponder());

interface Rough {
  world: World;
  proxy: RecordingProxy;
  toCa: RoughProxy;
  toDatabase: RoughProxy;
  end(): Promise<void>;
}

async function roughWorld(seed: number): Promise<Rough> {
  const proxy = await startRecordingProxy(pebble);
  const toCa = await startRoughProxy(addressOf(proxy.directoryUrl), { seed });
  const ends: (() => Promise<void>)[] = [];
  const world = await worldWith(
    {
      directoryUrl: through(toCa, proxy.directoryUrl),
      caPem: proxy.caPem,
      httpPort: pebble.httpPort,
    },
    undefined,
    (end) => ends.push(end),
  );
  answering = world;
  const { url } = await world.database.login('acme_worker');
  const toDatabase = await startRoughProxy(addressOf(url), { seed: seed + 1000 });
  const log = makeLogger(process.env['PGACME_TEST_LOG'] ?? 'silent');
  const start = () =>
    startWorker({ databaseUrl: through(toDatabase, url), secretKey: world.secretKey, log });
  toCa.setFaults(FAULTS);
  toDatabase.setFaults(FAULTS);
  const workers = await Promise.all([start(), start()]);
  return {
    world,
    proxy,
    toCa,
    toDatabase,
    async end() {
      await Promise.all(workers.map((worker) => worker.stop()));
      await Promise.all(ends.map((end) => end()));
      await Promise.all([toCa.stop(), toDatabase.stop(), proxy.stop()]);
      await world.database.drop();
    },
  };
}

async function allIssued({ sql }: World, wanted: number): Promise<true> {
  const rows = await sql<{ state: string; reason: string | null; count: number }[]>`
    select state, min(reason) as reason, count(*)::int as count from acme.csr_status group by state`;
  if ((rows.find(({ state }) => state === 'issued')?.count ?? 0) >= wanted) return true;
  throw new Error(rows.map((row) => `${row.count} ${row.state} (${row.reason})`).join('; '));
}

// Two of the five where tests are to be short.
for (const seed of [1, 2, 3, 4, 5].slice(0, scale < 1 ? 2 : 5)) {
  test(`on a network that cuts, freezes, delays and splits, seed ${seed}, every csr is issued once and nothing is stuck`, async () => {
    const rough = await roughWorld(seed);
    const { world, proxy, toCa, toDatabase } = rough;
    try {
      const csrs: Inserted[] = [];
      for (let i = 0; i < scaled(40, 8); i++) csrs.push(await insertWithKey(world, [freshName()]));
      await until(() => allIssued(world, csrs.length), {
        what: 'all are issued',
        timeoutMs: WAIT_MS,
      });

      for (const { id, keyPem } of csrs) {
        const stored = await world.sql<{ chain_pem: string }[]>`
          select chain_pem from acme.certificate where csr_id = ${id}`;
        expect(stored, `certificates of csr ${id}`).toHaveLength(1);
        const certificate = new X509Certificate(stored[0]?.chain_pem ?? '');
        expect(certificate.checkPrivateKey(createPrivateKey(keyPem)), id).toBe(true);
      }
      const finalized = [...finalizations(proxy.records).values()];
      expect(finalized.filter(({ succeeded }) => succeeded > 0)).toHaveLength(csrs.length);
      expect(finalized.filter(({ succeeded }) => succeeded > 1)).toEqual([]);
      await until(
        async () => {
          const stuck = await world.sql`select kind, id, reason_code, reason from acme.stuck`;
          if (stuck.length === 0) return true;
          throw new Error(JSON.stringify(stuck));
        },
        { what: 'nothing is stuck', timeoutMs: 180_000 },
      );
      process.stdout.write(
        `rough ${seed}: database ${JSON.stringify(toDatabase.done)}, CA ${JSON.stringify(toCa.done)}\n`,
      );
    } finally {
      await rough.end();
    }
  }, 1_200_000);
}
