import { expect, test } from 'vitest';
import { Extension } from '../../src/x509/crypto.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { readPem, writePem } from '../../src/x509/pem.ts';
import type { AcmeServer, Fault } from '../helpers/acme-server/index.ts';
import { dueNow } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

const DAY = 86_400_000;

const finalized = (ca: AcmeServer) =>
  ca.seen.filter(({ resource }) => resource === 'finalize').length;
const ordered = (ca: AcmeServer) =>
  ca.seen.filter(({ resource }) => resource === 'newOrder').length;

/** The chain that is stored. */
async function chainOf({ sql }: World, csr: string): Promise<string> {
  const [row] = await sql<[{ chain_pem: string }]>`
    select chain_pem from acme.current_certificate where csr_id = ${csr}`;
  return row.chain_pem;
}

const blocks = (pem: string) => readPem(pem).map(({ der }) => writePem('CERTIFICATE', der));

/** What CAs send for leaf, intermediate and root: all of them are stored in that order. */
const chains: Record<string, (sent: string[], unrelated: string) => string> = {
  'the root before the intermediate': ([leaf, intermediate, root]) =>
    [leaf, root, intermediate].join(''),
  'the leaf last': ([leaf, intermediate, root]) => [root, intermediate, leaf].join(''),
  'an unrelated certificate behind': (sent, unrelated) => [...sent, unrelated].join(''),
  'text between the certificates': (sent) =>
    sent.map((one, n) => ` ${n} s:/CN=somebody\n${one}`).join('---\n'),
};

test('a chain with text, in another order or with one too many is sorted and stored', async () => {
  const { ca, ...world } = await faultyWorld({ certificate: { chain: 'with-root' } });
  await world.worker();
  const unrelated = ca.caPem;
  for (const [name, change] of Object.entries(chains)) {
    let sent: string[] = [];
    ca.options.certificate = {
      chain: 'with-root',
      pem: (chain) => change((sent = blocks(chain)), unrelated),
    };
    const csr = await world.insert({ names: [freshName()] });
    await world.reach(csr, 'issued');
    expect(await chainOf(world, csr), name).toBe(sent.join(''));
  }
});

test('a certificate that came out wrong twice in the same way is not ordered a third time', async () => {
  const { ca, ...world } = await faultyWorld({ certificate: { wrongKey: true } });
  const worker = await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  expect(await world.reach(csr, 'retrying')).toMatchObject({ reason_code: 'certificate_mismatch' });
  // In another way: that counts anew.
  ca.options.certificate = { chain: 'foreign' };
  await again(world, csr);
  expect(await world.reach(csr, 'retrying')).toMatchObject({ reason_code: 'certificate_mismatch' });
  ca.options.certificate = { wrongKey: true };
  await again(world, csr);
  const status = await world.reach(csr, 'needs_person');
  expect(status.reason_code).toBe('certificate_mismatch');
  expect(status.reason).toMatch(/public key.*the same twice.*acme\.retry/);
  expect(status.last_problem).toMatchObject({ type: 'certificate_mismatch' });
  // Whoever comes after a kill finds the same.
  await worker.stop();
  const before = ordered(ca);
  await world.worker();
  const other = await world.insert({ names: [freshName()] });
  ca.options.certificate = {};
  await world.reach(other, 'issued');
  expect(ordered(ca)).toBe(before + 1);
  await world.sql`select acme.retry(${csr})`;
  await world.reach(csr, 'issued');
});

/** Its next try comes now. */
async function again({ sql }: World, csr: string): Promise<void> {
  await dueNow(sql, 'csr', csr);
  await sql`select acme_private.reconcile()`;
  await until(
    async () => {
      const [row] = await sql`select from acme.csr_status where id = ${csr} and state = 'retrying'`;
      return row === undefined;
    },
    { what: 'it is tried again' },
  );
}

interface Refused {
  /** What finalize is answered with. */
  problem: NonNullable<Fault['problem']>;
  state: string;
  code: string;
}

/** What finalize is refused with × what becomes of the csr. */
const refusals: Record<string, Refused> = {
  'malformed with status 400': {
    problem: { type: 'malformed', status: 400, detail: 'the CSR is odd' },
    state: 'failed',
    code: 'refused_for_good',
  },
  'malformed with status 409': {
    problem: { type: 'malformed', status: 409, detail: 'conflict' },
    state: 'retrying',
    code: 'server_refused',
  },
  'badCSR with status 400': {
    problem: { type: 'badCSR', status: 400, detail: 'the CSR is odd' },
    state: 'failed',
    code: 'refused_for_good',
  },
};

test.each(Object.entries(refusals))('finalize answered %s', async (_, { problem, state, code }) => {
  const { ca, ...world } = await faultyWorld();
  ca.on('finalize', { problem, times: Infinity });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  const status = await world.reach(csr, state);
  expect(status).toMatchObject({ reason_code: code });
  expect(status.reason).toContain(problem.detail);
});

test('malformed at finalize, of an account that the server reads no more, fails no csr for good', async () => {
  const { ca, ...world } = await faultyWorld();
  const problem = { type: 'malformed', status: 400, detail: 'JWS verification error' };
  ca.on('finalize', { problem, times: Infinity });
  ca.on('order', { problem, times: Infinity });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  expect(await world.reach(csr, 'retrying')).toMatchObject({ reason_code: 'server_refused' });
});

test('what a CSR asks for is refused by server, and what is adopted is kept', async () => {
  const { ca, ...world } = await faultyWorld();
  const { sql } = world;
  await world.worker();
  const usage = new Extension(
    '2.5.29.37',
    false,
    Buffer.from('301406082b0601050507030106082b06010505070302', 'hex'),
  );
  const ask = async () => (await makeCsr({ names: [freshName()], extensions: [usage] })).pem;
  const taken = await world.insert({ pem: await ask() });
  await world.reach(taken, 'issued');
  await sql`update acme.server set refused_csr_features = '{client_auth_eku}' where name = 'ca'`;
  const refused = await world.insert({ pem: await ask() });
  expect(await world.reach(refused, 'rejected')).toMatchObject({ reason_code: 'client_auth_eku' });

  const [row] = await sql<[{ pem: string; chain_pem: string }]>`
    select c.pem, k.chain_pem from acme.csr c
      join acme.current_certificate k on k.csr_id = c.id where c.id = ${taken}`;
  await sql`delete from acme.csr where id = ${taken}`;
  const before = finalized(ca);
  const adopted = await world.insert({ pem: row.pem }, { chain_pem: row.chain_pem });
  await world.reach(adopted, 'issued');
  expect(finalized(ca)).toBe(before);
  // Its renewal is told to need another CSR before anything is ordered.
  const orders = ordered(ca);
  await sql`select acme.renew(${adopted})`;
  const status = await world.reach(adopted, 'needs_person');
  expect(status).toMatchObject({ reason_code: 'client_auth_eku', has_certificate: true });
  expect(status.reason).toMatch(/the server refuses.*insert one that does not ask/);
  expect(ordered(ca)).toBe(orders);
});

test('a certificate that outlives its issuer is renewed by the end of that', async () => {
  const end = new Date(Math.floor(Date.now() / 1000) * 1000 + 30 * DAY);
  const { ca, ...world } = await faultyWorld({ certificate: { issuerNotAfter: end } });
  await world.worker();
  const csr = await world.insert({ names: [freshName()] });
  await world.reach(csr, 'issued');
  const [row] = await world.sql<[{ not_after: Date; renew_at: Date; planned: Date }]>`
    select k.not_after, s.renew_at, k.planned_renewal_at as planned
      from acme.csr_status s
      join acme_private.certificate k on k.id = s.certificate_id
     where s.id = ${csr}`;
  expect(row.not_after).toEqual(end);
  expect(row.renew_at.getTime()).toBeLessThan(end.getTime() - 9 * DAY);
  expect(row.planned).toEqual(row.renew_at);

  // The same issuer again, nearly over: no renewal without end in what is left.
  ca.options.certificate = { issuerNotAfter: new Date(Date.now() + DAY) };
  await world.sql`select acme.renew(${csr})`;
  await until(
    async () => {
      const [now] = await world.sql`
        select from acme.csr_status where id = ${csr} and renew_at <> ${row.renew_at}`;
      return now !== undefined;
    },
    { what: 'it is renewed' },
  );
  const [after] = await world.sql<[{ waits: boolean }]>`
    select renew_at > now() + interval '23 hours' as waits from acme.csr_status where id = ${csr}`;
  expect(after.waits).toBe(true);
});
