import { changeKey, newAccount, Server } from '../../src/acme/index.ts';
import { sealedAccountKeys } from '../../src/secrets/account-keys.ts';
import { sealingKeys } from '../../src/secrets/seal.ts';
import { spkiSha256OfJwk } from '../../src/x509/index.ts';
import { startAcmeServer } from '../helpers/acme-server/index.ts';
import {
  accountId,
  accountsChanged,
  addAccountKey,
  ago,
  now,
  remove,
  set,
  withoutTriggers,
} from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import type { CrashWorld } from './crash-world.ts';
import { issued, issueFirst, type Scenario } from './scenario.ts';

/** The account works: it can order another certificate. */
async function renewedWith(
  world: CrashWorld,
  csr: string,
  what: string,
  is: string,
): Promise<void> {
  await until(
    async () => {
      const rows = await world.sql.unsafe<{ state: string; reason: string; is: boolean }[]>(
        `select state, reason, ${is} as is from acme.account_status where name = 'main'`,
      );
      if (rows[0]?.is === true) return true;
      throw new Error(`it is ${rows[0]?.state}: ${rows[0]?.reason}`);
    },
    { what, timeoutMs: 30_000 },
  );
  await world.sql`select acme.renew(${csr})`;
  await world.sql`select acme.wait(${csr}, '30 s')`;
  await issued(world, csr);
}

const again = { certificates: 2, events: { renewal_due: 1, issued: 2 } };

/** Contacts changed, and somebody asked whether the server knows the account. */
const tellAccount: Scenario = {
  name: 'an account changes',
  points: ['account.find', 'account.tell', 'account_updated'],
  async begin(world) {
    const csr = await issueFirst(world);
    await world.sql`update acme.account set contact = '{mailto:new@example.org}'`;
    await world.sql`select acme.verify_account('main')`;
    return csr;
  },
  finish: (world, csr) =>
    renewedWith(world, csr, 'the server was told', `state = 'valid' and not has_pending_change`),
  ...again,
};

/** An account gets a new key. */
const rollOver: Scenario = {
  name: 'key roll-over',
  points: [
    'account_pending_key',
    'account_key_ready',
    'account.key_change',
    'account.probe_new',
    'account_rolled_over',
  ],
  async begin(world) {
    const csr = await issueFirst(world);
    await world.sql`select acme.roll_over_key('main')`;
    return csr;
  },
  finish: (world, csr) =>
    renewedWith(
      world,
      csr,
      'the key is rolled over',
      `state = 'valid' and not has_pending_change and reason_code is null
         and (select count(*) from acme.event where event = 'account_key_rolled_over') = 1`,
    ),
  ...again,
};

/** The key that an account is to have is another account's: Pebble says yes, and does nothing. */
const refusedRollOver: Scenario = {
  name: 'key roll-over that the CA does not do',
  points: ['account.probe_old', 'account_roll_over_refused'],
  async begin(world) {
    const csr = await issueFirst(world);
    await pendingKeyOfAnother(world);
    return csr;
  },
  finish: (world, csr) =>
    renewedWith(
      world,
      csr,
      'the old key stays',
      `state = 'valid' and reason_code = 'key_not_changed'`,
    ),
  ...again,
};

/** The key of the account is replaced at the CA, by one that this database has, or not. */
async function replaceKey(
  { pebble, proxy, sql, secretKey }: CrashWorld,
  isKept: boolean,
): Promise<void> {
  const keys = sealedAccountKeys(await sealingKeys(secretKey));
  const owner = { account: 'main', origin: new URL(proxy.directoryUrl).origin };
  const [row] = await sql<[{ jwe: string }]>`
    select jwe from acme_private.account_key where state = 'current'`;
  const old = await keys.open(owner, row.jwe);
  const { stored, key } = await keys.make(owner, 'ES256');
  const server = new Server({ directoryUrl: pebble.directoryUrl, caBundle: pebble.caPem });
  const { url } = await newAccount(server, old, { onlyReturnExisting: true });
  await changeKey({ server, url, key: old }, key);
  await server.close();
  if (isKept) {
    // As account_roll_over_refused leaves it.
    await addAccountKey(sql, await accountId(sql), key.thumbprint, {
      state: 'retired',
      jwe: stored,
      spki_sha256: await spkiSha256OfJwk(key.publicJwk),
      retired_at: now(),
    });
    await accountsChanged(sql);
  }
  await sql`select acme.verify_account('main')`;
}

/** The CA took a key that it had seemed to refuse. */
const lateRollOver: Scenario = {
  name: 'key roll-over that the CA does late',
  points: ['account_key_found'],
  async begin(world) {
    const csr = await issueFirst(world);
    await replaceKey(world, true);
    return csr;
  },
  finish: (world, csr) =>
    renewedWith(
      world,
      csr,
      'the new key is used',
      `state = 'valid' and not has_pending_change and reason_code is null
         and (select count(*) from acme.event where event = 'account_key_rolled_over') = 1`,
    ),
  ...again,
};

/** Somebody replaced the key without this database, and another account takes the place of this one. */
const replacedElsewhere: Scenario = {
  name: 'a key that was replaced elsewhere',
  points: ['account.probe_stored'],
  async begin(world) {
    const csr = await issueFirst(world);
    await replaceKey(world, false);
    return csr;
  },
  async finish(world, csr) {
    const isTold = async () =>
      (await world.sql`select from acme.account_status where reason_code = 'account_key_unknown'`)
        .length === 1;
    await until(isTold, { what: 'the account says so', timeoutMs: 30_000 });
    await world.sql`
      insert into acme.account (name, server, terms_agreed)
      select 'second', server, true from acme.account where name = 'main'`;
    await world.sql`select acme.replace_account('main', 'second')`;
    await world.sql`select acme.renew(${csr})`;
    await world.sql`select acme.wait(${csr}, '30 s')`;
    await issued(world, csr);
  },
  ...again,
};

/** As a worker leaves it that made the key and died before it sent it. */
async function pendingKeyOfAnother({ pebble, proxy, sql, secretKey }: CrashWorld): Promise<void> {
  const owner = { account: 'main', origin: new URL(proxy.directoryUrl).origin };
  const { stored, key } = await sealedAccountKeys(await sealingKeys(secretKey)).make(
    owner,
    'ES256',
  );
  const server = new Server({ directoryUrl: pebble.directoryUrl, caBundle: pebble.caPem });
  await newAccount(server, key, { termsOfServiceAgreed: true });
  await server.close();
  const spki = await spkiSha256OfJwk(key.publicJwk);
  await sql.begin(async (tx) => {
    await addAccountKey(tx, await accountId(tx), key.thumbprint, {
      state: 'pending',
      jwe: stored,
      spki_sha256: spki,
      sent_at: ago('6 minutes'),
    });
    await tx`select acme.roll_over_key('main')`;
  });
}

/** An account is closed. */
const deactivate: Scenario = {
  name: 'account deactivation',
  points: ['account.deactivate', 'account_deactivated'],
  async begin(world) {
    const csr = await issueFirst(world);
    await world.sql`select acme.deactivate_account('main')`;
    return csr;
  },
  async finish(world, csr) {
    await world.reach(csr, 'cancelled', 30_000);
    const isDone = async () =>
      (await world.sql`select from acme.account_status where state = 'deactivated'`).length === 1;
    await until(isDone, { what: 'the account is deactivated', timeoutMs: 30_000 });
  },
  certificates: 1,
  events: { issued: 1, cancelled: 1 },
};

/** The database is restored from before a renewal, which the account's list of orders still has. */
const restored: Scenario = {
  name: 'a restored database reads the list of orders',
  points: ['orders.list', 'orders.look', 'orders.download', 'orders_listed', 'orders_read'],
  async begin(world) {
    const csr = await issueFirst(world);
    const second = await world.rescuer();
    await world.sql`select acme.renew(${csr})`;
    await world.sql`select acme.wait(${csr}, '30 s')`;
    await issued(world, csr);
    await second.stop();
    await forgetRenewal(world, csr);
    return csr;
  },
  async finish(world, csr) {
    const isRead = async () =>
      (
        await world.sql`
          select from acme.event where event = 'account_orders_read' and detail ->> 'found' = '1'`
      ).length === 1;
    await until(isRead, { what: 'the list is read', timeoutMs: 30_000 });
    await issued(world, csr);
  },
  certificates: 2,
  events: { issued: 2 },
};

/** As a backup of before it has it; then that is taken into use. */
async function forgetRenewal({ sql }: CrashWorld, csr: string): Promise<void> {
  await withoutTriggers(sql, async (tx) => {
    const [row] = await tx<[{ id: string; order_id: string }]>`
      select id, order_id from acme_private.certificate where csr_id = ${csr} order by id desc limit 1`;
    await remove(tx, 'certificate_name', row.id);
    await remove(tx, 'certificate', row.id);
    await remove(tx, 'order_authorization', { order_id: row.order_id });
    await remove(tx, 'order', row.order_id);
    await remove(tx, 'event', { order_id: row.order_id });
    const [before] = await set(tx, 'certificate', { csr_id: csr }, { state: 'current' });
    await set(tx, 'csr', csr, { certificate_id: before ?? null });
  });
  await sql`select acme_private.adopt_restored(null)`;
}

/** A name is proved before there is an order, at a CA that offers it: Pebble does not. */
const preauthorize: Scenario = {
  name: 'pre-authorization',
  points: ['authorization_named', 'authorization.create', 'authorization_created'],
  async begin(world) {
    const csr = await issueFirst(world);
    const ca = await startAcmeServer({ options: { preAuthorization: true, validation: 'valid' } });
    world.atEnd(() => ca.stop());
    await world.sql`
      insert into acme.server (name, directory_url, ca_bundle) values ('ahead', ${ca.directoryUrl}, ${ca.caPem})`;
    await world.sql`insert into acme.account (name, server, terms_agreed) values ('ahead', 'ahead', true)`;
    await world.sql`select acme.preauthorize(${freshName()}, 'ahead')`;
    return csr;
  },
  async finish({ sql }) {
    const isValid = async () =>
      (await sql`select from acme.authorization where is_preauthorization and state = 'valid'`)
        .length === 1;
    await until(isValid, { what: 'the name is proved', timeoutMs: 30_000 });
  },
  certificates: 1,
  events: { issued: 1 },
};

/** Those of accounts and of the database that they are in. */
export const accountScenarios: readonly Scenario[] = [
  tellAccount,
  rollOver,
  refusedRollOver,
  lateRollOver,
  replacedElsewhere,
  deactivate,
  restored,
  preauthorize,
];
