import { randomBytes } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import { sealedAccountKeys } from '../../src/secrets/account-keys.ts';
import { sealingKeys } from '../../src/secrets/seal.ts';
import type { AcmeServer } from '../helpers/acme-server/index.ts';
import { accountsChanged, all, NEVER, now, set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

vi.setConfig({ testTimeout: 60_000 });

interface Row {
  id: string;
  state: string;
  reason_code: string | null;
  reason: string | null;
  attempts: number;
  next_attempt_at: Date | null;
}

type FaultyWorld = World & { ca: AcmeServer };

async function reach({ sql }: World, csr: string, wanted: (row: Row) => boolean): Promise<Row> {
  return until(
    async () => {
      const [row] = await sql<Row[]>`
        select id, state, reason_code, reason, attempts, next_attempt_at
          from acme.certificate where csr_id = ${csr} order by id limit 1`;
      if (row !== undefined && wanted(row)) return row;
      throw new Error(`it is ${JSON.stringify(row)}`);
    },
    { what: 'the certificate gets there', timeoutMs: 20_000 },
  );
}

const isRevoked = ({ state }: Row) => state === 'revoked';

async function issuedWorld(
  options: Parameters<typeof faultyWorld>[0] = {},
): Promise<FaultyWorld & { csr: string; name: string }> {
  const world = await faultyWorld(options);
  await world.worker();
  const name = freshName();
  const csr = await world.insert({ names: [name] });
  await world.reach(csr, 'issued');
  return { ...world, csr, name };
}

const asked = (ca: AcmeServer) =>
  ca.seen.filter(({ resource }) => resource === 'revokeCert').map(({ kid }) => kid);

describe('an account that may not revoke', () => {
  test('is helped by another one that holds the authorizations', async () => {
    const { csr, name, ...world } = await issuedWorld();
    // Another account proves the same name.
    await world.sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
    const other = await world.insert({ names: [name] }, { account: 'second' });
    await world.reach(other, 'issued');
    const accounts = await world.sql<{ name: string; url: string }[]>`
      select name, url from acme.account_status order by id`;
    world.ca.on('revokeCert', {
      when: ({ kid }) => kid === accounts[0]?.url,
      times: Infinity,
      problem: { type: 'unauthorized', status: 403, detail: 'not yours' },
    });
    await world.sql`select acme.revoke(${csr}, 'superseded')`;
    await reach(world, csr, isRevoked);
    expect(asked(world.ca)).toEqual(accounts.map(({ url }) => url));
    const [event] = await world.sql<{ name: string }[]>`
      select a.name from acme.event e join acme.account a on a.id = e.account_id
       where e.event = 'certificate_revoked'`;
    expect(event).toEqual({ name: 'second' });
    const [feature] = await world.sql<{ support: string; how: string }[]>`
      select support, how from acme.server_feature
       where server = 'ca' and feature = 'revocation_by_other_account'`;
    expect(feature).toEqual({ support: 'yes', how: 'seen' });
  });

  test.each(['malformed', 'accountDoesNotExist'])(
    'is helped by another one also where its key is no longer the live one (%s)',
    async (type) => {
      const { csr, name, ...world } = await issuedWorld();
      const [old] = await world.sql<{ url: string }[]>`select url from acme.account_status`;
      // As servers answer to a key that was replaced elsewhere.
      world.ca.on('revokeCert', {
        when: ({ kid }) => kid === old?.url,
        times: Infinity,
        problem: { type, status: 400, detail: 'The JWS does not verify' },
      });
      await world.sql`select acme.revoke_certificate(id, 'superseded') from acme.certificate where csr_id = ${csr}`;
      const row = await reach(world, csr, ({ reason_code }) => reason_code !== null);
      expect(row).toMatchObject({
        state: 'revoking',
        reason_code: type === 'malformed' ? 'server_refused' : 'account_lost',
      });
      expect(row.reason).toBe(
        `The server answered ${type}: The JWS does not verify. Whoever has its private key can: pgacme revoke --id ${row.id} --key-file KEY.`,
      );
      await world.sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
      const other = await world.insert({ names: [name] }, { account: 'second' });
      await world.reach(other, 'issued');
      await world.sql`select acme.revoke_certificate(${row.id}, 'superseded')`;
      await reach(world, csr, isRevoked);
    },
  );

  test('is not registered again with the key of a backup while a restored database is looked at', async () => {
    const { csr, ...world } = await issuedWorld();
    await set(world.sql, 'account', all, { reread_since: now(), next_attempt_at: NEVER });
    world.ca.on('revokeCert', {
      times: Infinity,
      problem: { type: 'accountDoesNotExist', status: 400, detail: 'no such account' },
    });
    await world.sql`select acme.revoke_certificate(id, 'superseded') from acme.certificate where csr_id = ${csr}`;
    await reach(world, csr, ({ reason_code }) => reason_code === 'account_lost');
    expect(
      await world.sql`select state, url is null as is_lost from acme_private.account_state`,
    ).toEqual([{ state: 'valid', is_lost: false }]);
  });

  test('is passed over where this worker cannot open its key', async () => {
    const { csr, name, ...world } = await issuedWorld();
    const [account] = await world.sql<[{ id: string; origin: string }]>`
      select a.id, substring(s.directory_url from '^https://[^/]+') as origin
        from acme.account a join acme.server s on s.name = a.server where a.name = 'main'`;
    // As after a key of PGACME_SECRET_KEY that this worker was not given.
    const foreign = await sealingKeys(randomBytes(32).toString('base64'));
    const { stored } = await sealedAccountKeys(foreign).make(
      { account: 'main', origin: account.origin },
      'ES256',
    );
    await set(world.sql, 'account_key', { account_id: account.id }, { jwe: stored });
    await accountsChanged(world.sql);
    await world.sql`select acme.revoke(${csr}, 'superseded')`;
    const row = await reach(world, csr, ({ reason_code }) => reason_code !== null);
    expect(row).toMatchObject({ state: 'revoking', reason_code: 'revocation_unauthorized' });
    expect(row.reason).toMatch(/PGACME_SECRET_KEY/);
    expect(asked(world.ca)).toEqual([]);
    // Another account proves the same name, and it is asked for once more.
    await world.sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
    const other = await world.insert({ names: [name] }, { account: 'second' });
    await world.reach(other, 'issued');
    await world.sql`select acme.revoke_certificate(${row.id}, 'superseded')`;
    await reach(world, csr, isRevoked);
    const [second] = await world.sql<{ url: string }[]>`
      select url from acme.account_status where name = 'second'`;
    expect(asked(world.ca)).toEqual([second?.url]);
  });

  test('leaves the certificate waiting, with a sentence that names the way by its key', async () => {
    const { csr, ...world } = await issuedWorld();
    // It has authorizations, but for another name.
    await world.sql`insert into acme.account (name, server, terms_agreed) values ('second', 'ca', true)`;
    const other = await world.insert({ names: [freshName()] }, { account: 'second' });
    await world.reach(other, 'issued');
    const fault = world.ca.on('revokeCert', {
      times: Infinity,
      problem: { type: 'unauthorized', status: 403, detail: 'not yours.' },
    });
    await world.sql`select acme.revoke(${csr}, 'superseded')`;
    const row = await reach(world, csr, ({ reason_code }) => reason_code !== null);
    expect(row).toMatchObject({
      state: 'revoking',
      reason_code: 'revocation_unauthorized',
      attempts: 1,
    });
    expect(row.reason).toBe(
      `The server lets none of our accounts revoke certificate ${row.id}: not yours. Whoever has its private key can: pgacme revoke --id ${row.id} --key-file KEY.`,
    );
    expect(row.next_attempt_at).toBeInstanceOf(Date);
    expect(fault.hits).toBe(1);
    // Also where the application looks.
    expect(await world.status(csr)).toMatchObject({
      state: 'issued',
      reason_code: 'revocation_unauthorized',
      reason: row.reason,
    });
    expect(await world.events(csr)).toContain('revocation_refused');
    const [{ text }] = await world.sql<[{ text: string }]>`select acme.explain(${csr}) as text`;
    expect(text).toContain(`Certificate ${row.id} is to be revoked (superseded); next try: `);
    // Asked for once more, it is tried at once.
    fault.remove();
    await world.sql`select acme.revoke_certificate(${row.id}, 'superseded')`;
    await reach(world, csr, isRevoked);
    // What was asked for first still holds.
    expect(await world.reach(csr, 'cancelled')).toMatchObject({ reason_code: 'revoked' });
  });
});

test('a reason that the server does not take revokes nothing, and another one can be given', async () => {
  const { csr, ...world } = await issuedWorld();
  world.ca.on('revokeCert', {
    problem: { type: 'badRevocationReason', status: 400, detail: 'only 0, 1, 4 and 5' },
  });
  const before = await world.status(csr);
  await world.sql`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
  const row = await reach(world, csr, ({ reason_code }) => reason_code !== null);
  expect(row).toMatchObject({ state: 'current', reason_code: 'revocation_reason_refused' });
  expect(await world.status(csr)).toMatchObject({
    state: 'issued',
    reason_code: 'revocation_reason_refused',
    renew_at: before.renew_at,
  });
  expect(row.reason).toMatch(
    /^The server answered badRevocationReason: only 0, 1, 4 and 5\. The certificate is not revoked; ask again for another reason/,
  );
  await world.sql`select acme.revoke(${csr}, 'cessationOfOperation')`;
  await reach(world, csr, isRevoked);
  await world.reach(csr, 'cancelled');
  expect(
    world.ca.seen.findLast(({ resource }) => resource === 'revokeCert')?.payload,
  ).toMatchObject({ reason: 5 });
});

test('a superseded certificate goes back to superseded', async () => {
  const { csr, ...world } = await issuedWorld();
  world.ca.on('revokeCert', {
    problem: { type: 'badRevocationReason', status: 400, detail: 'no' },
  });
  await world.sql`select acme.revoke(${csr}, 'superseded', true)`;
  const row = await reach(world, csr, ({ reason_code }) => reason_code !== null);
  expect(row.state).toBe('superseded');
  expect((await world.reach(csr, 'issued')).reason_code).toBeNull();
});

test.each([
  ['a server in trouble', { problem: { type: 'serverInternal', status: 500, detail: 'broken' } }],
  ['a limit', { problem: { type: 'rateLimited', status: 429 }, headers: { 'retry-after': '1' } }],
  ['a cut connection, after the fact', { cut: 'before-headers', phase: 'after' }],
  ['a refused nonce', { problem: { type: 'badNonce', status: 400 } }],
] as const)('%s: it is asked again', async (_, fault) => {
  const { csr, ...world } = await issuedWorld();
  world.ca.on('revokeCert', fault);
  await world.sql`select acme.revoke(${csr}, 'superseded')`;
  await reach(world, csr, isRevoked);
  expect(asked(world.ca)).toHaveLength(2);
});

test('a renewal under way is given up for a revocation, and made anew where the reason is refused', async () => {
  const { csr, ...world } = await issuedWorld();
  const first = (await world.status(csr)).certificate_id;
  let answer = (): void => undefined;
  const asking = world.ca.on('revokeCert', {
    until: new Promise<void>((resolve) => (answer = resolve)),
    problem: { type: 'badRevocationReason', status: 400, detail: 'only 0, 1, 4 and 5' },
  });
  let order = (): void => undefined;
  const ordering = world.ca.on('newOrder', {
    until: new Promise<void>((resolve) => (order = resolve)),
    phase: 'after',
  });
  await world.sql`select acme.renew(${csr})`;
  await until(() => ordering.hits === 1, { what: 'the renewal is ordered' });
  await world.sql`select acme.revoke(${csr}, 'privilegeWithdrawn')`;
  await until(() => asking.hits === 1, { what: 'the server is asked to revoke' });
  order();
  const ended = await until(
    async () =>
      (await world.sql`select reason_code from acme."order" where state = 'cancelled'`)[0],
    { what: 'the order is given up', timeoutMs: 20_000 },
  );
  expect(ended).toEqual({ reason_code: 'revoking' });
  expect(await world.status(csr)).toMatchObject({ state: 'issued', reason_code: 'revoking' });
  expect(world.ca.count('finalize')).toBe(1);
  answer();
  await until(async () => (await world.status(csr)).certificate_id !== first, {
    what: 'it is renewed',
    timeoutMs: 20_000,
  });
  expect(await world.status(csr)).toMatchObject({ state: 'issued', reason_code: null });
  const states = await world.sql<{ state: string }[]>`
    select state from acme.certificate where csr_id = ${csr} order by id`;
  expect(states.map(({ state }) => state)).toEqual(['superseded', 'current']);
});

test('an order that has its CSR at the server is stored, and its certificate revoked as well', async () => {
  const { csr, ...world } = await issuedWorld({ finalizeDelayMs: 0 });
  const first = (await world.status(csr)).certificate_id;
  const held = world.ca.on('finalize', { delayMs: 2000, phase: 'after' });
  await world.sql`select acme.renew(${csr})`;
  await until(() => held.hits === 1, { what: 'the CSR of the renewal is sent' });
  await world.sql`select acme.revoke(${csr}, 'cessationOfOperation')`;
  await until(
    async () =>
      (await world.sql`select from acme.certificate where csr_id = ${csr} and state = 'revoked'`)
        .length === 2,
    { what: 'both certificates are revoked', timeoutMs: 20_000 },
  );
  const row = await world.reach(csr, 'cancelled');
  expect(row.certificate_id).not.toBe(first);
  expect(row.reason_code).toBe('revoked');
});

test('an order under way with a blocked key ends before its CSR is sent', async () => {
  const world = await faultyWorld();
  await world.worker();
  const { webcrypto } = await import('node:crypto');
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const key = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await world.insert({ names: [freshName()], key });
  await world.reach(csr, 'issued');
  await world.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{*}')`;
  const waiting = await world.insert({ names: [freshName()], key }, { solver: 'by-hand' });
  const todo = await until(
    async () => (await world.sql<{ id: string }[]>`select id from acme.challenge_todo`)[0],
    { what: 'its challenge is to be published by hand' },
  );
  await world.sql`select acme.revoke(${csr}, 'keyCompromise')`;
  await world.reach(csr, 'needs_new_csr');
  const finalized = world.ca.count('finalize');
  await world.sql`select acme_private.reconcile()`;
  await world.reach(waiting, 'needs_new_csr');
  expect(world.ca.count('finalize')).toBe(finalized);
  const [order] = await world.sql`
    select state, reason_code from acme."order" where csr_id = ${waiting}`;
  expect(order).toEqual({ state: 'cancelled', reason_code: 'key_blocked' });
  expect(
    await world.sql`select from acme.challenge_todo where id = ${todo.id} and action = 'publish'`,
  ).toHaveLength(0);
});

describe('asked for anew, and said to be compromised, while the server is asked', () => {
  const unauthorized = { type: 'unauthorized', status: 403, detail: 'not yours' };
  const badReason = { type: 'badRevocationReason', status: 400, detail: 'not this one' };
  test.each([
    ['and it revokes', {}, 1],
    ['and its answer is lost', { phase: 'after', cut: 'before-headers' }, 2],
    ['and it lets nobody', { problem: unauthorized }, 2],
    ['and it does not take the first reason', { problem: badReason }, 2],
  ] as const)('%s: nothing is forgotten, and the key is blocked', async (_, fault, requests) => {
    const { csr, ...world } = await issuedWorld();
    let answer = (): void => undefined;
    const held = world.ca.on('revokeCert', {
      ...fault,
      until: new Promise<void>((resolve) => (answer = resolve)),
    });
    const { certificate_id: id } = await world.status(csr);
    await world.sql`select acme.revoke_certificate(${id}, 'superseded')`;
    await until(() => held.hits === 1, { what: 'the server is asked' });
    await world.sql`select acme.revoke_certificate(${id}, 'keyCompromise')`;
    // The job of the second request comes and goes: the certificate is held.
    await until(
      async () =>
        (await world.sql`select from acme_worker.jobs where task_identifier = 'revoke'`).length <=
        1,
      { what: 'the second job is done' },
    );
    expect(world.ca.seen.at(-1)?.status).toBeUndefined();
    expect(await world.sql`select reason from acme.revocation_request`).toEqual([
      { reason: 'keyCompromise' },
    ]);
    answer();
    await reach(world, csr, isRevoked);
    await world.reach(csr, 'needs_new_csr');
    expect(await world.sql`select certificate_id from acme.blocked_key`).toEqual([
      { certificate_id: id },
    ]);
    expect(await world.sql`select from acme.revocation_request`).toHaveLength(0);
    const told = await world.sql<{ reason: string }[]>`
      select detail ->> 'reason' as reason from acme.event
       where event = 'revocation_requested' and certificate_id = ${id} order by id`;
    expect(told.map(({ reason }) => reason)).toEqual(['superseded', 'keyCompromise']);
    const sent = world.ca.seen
      .filter(({ resource }) => resource === 'revokeCert')
      .map(({ payload }) => (payload as { reason: number }).reason);
    expect(sent).toEqual([4, 1].slice(0, requests));
  });
});
