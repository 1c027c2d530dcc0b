import { expect, test } from 'vitest';
import { freePort } from '../../src/local/ports.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { startAcmeServer } from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

test('a server that never answers keeps no csr of another server waiting, however many it has', async ({
  onTestFinished,
}) => {
  const world = await faultyWorld({}, onTestFinished);
  const { sql } = world;
  const hanging = await startAcmeServer({ httpPort: await freePort() });
  onTestFinished(() => hanging.stop());
  await sql`
    insert into acme.server (name, directory_url, ca_bundle)
    values ('hanging', ${hanging.directoryUrl}, ${hanging.caPem})`;
  await sql`
    insert into acme.account (name, server, contact, terms_agreed)
    values ('hanging', 'hanging', '{mailto:ops@example.org}', true)`;
  const worker = await world.worker();
  await until(
    async () => {
      const open = await sql`select from acme.account_status where state = 'valid'`;
      return open.length === 2;
    },
    { what: 'both accounts are registered', timeoutMs: 20_000 },
  );
  hanging.on('newOrder', { nothing: true, times: Infinity });
  const made = await Promise.all(
    Array.from({ length: 30 }, () => makeCsr({ names: [freshName('hangs')] })),
  );
  await sql`
    insert into acme.csr (pem, account) select unnest(${made.map(({ pem }) => pem)}::text[]), 'hanging'`;
  await until(() => hanging.count('newOrder') > 0, { what: 'the server is asked' });

  await world.reach(await world.insert({ names: [freshName()] }), 'issued', 28_000);
  // Of 30 orders under way none has had an answer yet, and none was given up.
  const [orders] = await sql<[{ waiting: number; tried: number }]>`
    select count(*)::int as waiting, (count(*) filter (where o.attempts > 0))::int as tried
      from acme_private."order" o
      join acme.account a on a.id = o.account_id
     where a.name = 'hanging' and o.state = 'creating'`;
  expect(orders).toEqual({ waiting: 30, tried: 0 });

  await hanging.stop();
  await worker.stop();
  const [held] = await sql<[{ leases: number }]>`
    select count(*)::int as leases from acme_private."order" where lease_token is not null`;
  expect(held.leases).toBe(0);
}, 120_000);
