import { X509Certificate } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { PebbleBinaries } from '../../src/local/pebble.ts';
import { makeLogger } from '../../src/log.ts';
import { travel } from '../helpers/clock.ts';
import { newestPebble, pebbleOfThisRelease, type TestPebbleOptions } from '../helpers/pebble.ts';
import { until } from '../helpers/until.ts';
import { freshName, pebbleWorld } from '../helpers/world.ts';

// The first run on a machine fetches a package.
vi.setConfig({ testTimeout: 120_000 });

/** Which Pebble: 2.10 or newer, and an old one, which lacks what many a CA lacks. */
const versions: Record<string, () => Promise<PebbleBinaries | undefined>> = {
  'the newest Pebble': newestPebble,
  "the release's own Pebble": pebbleOfThisRelease,
};

describe.each(Object.keys(versions))('with %s', (which) => {
  const world = async (options: TestPebbleOptions = {}) => {
    const binaries = await versions[which]?.();
    if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
    return pebbleWorld({ ...options, binaries });
  };

  test('a certificate comes, with a common name in the CSR, and is renewed when it is due', async () => {
    const { sql, pebble, ...rest } = await world();
    await rest.worker();
    const name = freshName();
    const id = await rest.insert({ names: [name, `www.${name}`], commonName: name });
    await rest.reach(id, 'issued');
    const [first] = await sql<[{ pem: string; days: number }]>`
      select leaf_pem as pem, (extract(epoch from not_after - not_before) / 86400)::float8 as days
        from acme.current_certificate
       where csr_id = ${id}`;
    const leaf = new X509Certificate(first.pem);
    expect(leaf.subjectAltName).toContain(`www.${name}`);
    // The old one puts the name there, the newest does not (one of those between began to).
    expect([undefined, `CN=${name}`]).toContain(leaf.subject);
    if (pebble.version === '2.4') expect(leaf.subject).toBe(`CN=${name}`);
    if (pebble.version === '2.10') expect(leaf.subject).toBeUndefined();
    await travel(sql, Math.ceil(first.days * 0.67));
    await sql`select acme_private.reconcile()`;
    await until(
      async () =>
        (await sql`select from acme.certificate where csr_id = ${id} and state = 'superseded'`)
          .length === 1,
      { what: 'a new certificate replaces the first' },
    );
    await rest.reach(id, 'issued');
  });

  test('a validation that fails is told with its name and tried again, with success when the name is right', async () => {
    const { sql, pebble, ...rest } = await world();
    await rest.worker();
    const [good, bad] = [freshName('good'), freshName('bad')];
    // Nobody listens there.
    await pebble.dns.setA(bad, ['127.0.0.9']);
    const id = await rest.insert({ names: [good, bad] });
    const waiting = await rest.reach(id, 'retrying');
    expect(waiting).toMatchObject({ reason_code: 'validation_failed', attempts: 1 });
    expect(waiting.reason).toContain(bad);
    expect(waiting.last_problem).toMatchObject({
      type: 'urn:ietf:params:acme:error:connection',
    });
    await pebble.dns.clearA(bad);
    await sql`select acme.retry(${id})`;
    await rest.reach(id, 'issued');
    const records = await sql`select from acme.record where state <> 'removed'`;
    expect(records).toHaveLength(0);
  });

  test('an order that is cancelled before its name is proved is given up at the server, too', async () => {
    const { sql, ...rest } = await world();
    await rest.worker();
    await sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{}')`;
    const id = await rest.insert({ names: [freshName()] }, { solver: 'by-hand' });
    await until(async () => (await sql`select from acme.challenge_todo`).length === 1, {
      what: 'it waits for a person',
    });
    await sql`select acme.cancel(${id})`;
    await rest.reach(id, 'cancelled');
    const rows = await sql<{ order: string; authorization: string }[]>`
      select (select state from acme."order") as order,
             (select state from acme.authorization) as authorization`;
    expect(rows).toEqual([{ order: 'cancelled', authorization: 'deactivated' }]);
  });

  test('what the server takes its time for is polled until it is there', async () => {
    const { sql, ...rest } = await world({
      retryAfter: { authz: 1, order: 1 },
      env: { PEBBLE_VA_NOSLEEP: '0', PEBBLE_VA_SLEEPTIME: '2' },
    });
    await rest.worker();
    const ids = await Promise.all(
      [1, 2, 3].map((names) => rest.insert({ names: Array.from({ length: names }, freshHost) })),
    );
    for (const id of ids) await rest.reach(id, 'issued', 40_000);
    const [orders] = await sql<[{ made: number }]>`
      select count(*)::int as made from acme."order"`;
    expect(orders.made).toBe(ids.length);
  });

  test('refused nonces cost nothing but the repetition', async () => {
    const { sql, ...rest } = await world({ nonceReject: 30 });
    const lines: string[] = [];
    await rest.worker({ log: makeLogger('info', { write: (line) => lines.push(line) }) });
    const ids = await Promise.all(
      [1, 2, 3, 4].map(() => rest.insert({ names: [freshName(), freshName()] })),
    );
    for (const id of ids) await rest.reach(id, 'issued', 40_000);
    const finalized = await sql`select from acme.event where event = 'order_finalized'`;
    expect(finalized).toHaveLength(ids.length);
    // The log tells of each step that did not succeed.
    expect(lines.join('')).toContain('worker started');
    expect(lines.filter((line) => line.includes('nonce'))).toEqual([]);
  });

  test('an account is registered when the terms are agreed to, not before', async () => {
    const { sql, ...rest } = await world();
    await sql`update acme.account set terms_agreed = false`;
    await rest.worker();
    await until(
      async () =>
        (await sql`select from acme.account_status where reason_code = 'terms_not_agreed'`)
          .length === 1,
      { what: 'the terms are asked for' },
    );
    await sql`update acme.account set terms_agreed = true`;
    await rest.reach(await rest.insert({ names: [freshName()] }), 'issued');
  });
});

const freshHost = () => freshName();
