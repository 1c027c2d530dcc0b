import { expect } from 'vitest';
import { sealedAccountKeys } from '../../src/account-keys.ts';
import { newAccount, Server } from '../../src/acme/index.ts';
import { sealingKeys } from '../../src/seal.ts';
import { spkiSha256OfJwk } from '../../src/x509/index.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import type { CrashWorld } from './crash-world.ts';

/** A piece of work in which a worker dies, and how it ends all the same. */
export interface Scenario {
  name: string;
  /** The prefixes of the crash points that a worker reaches in it. */
  points: readonly string[];
  /** At a CA that asks to wait 4 s for the certificate. */
  isSlow?: boolean;
  /** Before the worker that will die starts; returns the csr. */
  begin(world: CrashWorld): Promise<string>;
  /** Once it runs: what brings it to the point. */
  provoke?(world: CrashWorld, csr: string): Promise<void>;
  /** Once it is dead and another worker runs, until all is done. */
  finish(world: CrashWorld, csr: string): Promise<void>;
  /** Orders that the CA is asked to finalize, and certificates that come of it. */
  certificates: number;
  /** What the csr's events must tell, each this often. */
  events: Readonly<Record<string, number>>;
}

async function insertTwoNames(world: CrashWorld): Promise<string> {
  return world.insert({ names: [freshName(), freshName()] });
}

async function issued(world: CrashWorld, csr: string): Promise<void> {
  await world.reach(csr, 'issued', 30_000);
}

/** From the account to the certificate. */
const issue: Scenario = {
  name: 'issue',
  points: [
    'account.directory',
    'account.register',
    'server_facts_stored',
    'account_key_stored',
    'account_registered',
    'claim',
    'dispatch',
    'verdicts',
    'order.create',
    'order_created',
    'authorization.look',
    'challenge_intended',
    'challenge.answer',
    'authorization_proved',
    'order.finalize',
    'order.look',
    'certificate.download',
    'certificate_stored',
  ],
  begin: insertTwoNames,
  finish: issued,
  certificates: 1,
  events: { accepted: 1, order_finalized: 1, issued: 1 },
};

/** The same at a CA that takes longer than a worker stays for. */
const issueSlowly: Scenario = {
  ...issue,
  name: 'issue slowly',
  points: ['order_finalized'],
  isSlow: true,
};

/** A renewal that was asked for. */
const renew: Scenario = {
  name: 'renew',
  points: ['attend'],
  async begin(world) {
    const csr = await insertTwoNames(world);
    const first = await world.rescuer();
    await issued(world, csr);
    await first.stop();
    await world.sql`select acme.renew(${csr})`;
    return csr;
  },
  async finish(world, csr) {
    await world.reach(csr, 'renewing').catch(() => undefined);
    await world.sql`select acme.wait(${csr}, '30 s')`;
    await issued(world, csr);
  },
  certificates: 2,
  events: { renewal_due: 1, issued: 2 },
};

/** The CA cannot reach the name; later it can. */
const validation: Scenario = {
  name: 'failed validation',
  points: ['step_failed'],
  async begin(world) {
    const name = freshName();
    await world.pebble.dns.setA(name, ['127.0.0.2']);
    return world.insert({ names: [name] });
  },
  async finish(world, csr) {
    const { identifiers } = await world.reach(csr, 'retrying', 30_000);
    for (const name of identifiers ?? []) await world.pebble.dns.clearA(name);
    await world.sql`select acme.retry(${csr})`;
    await issued(world, csr);
  },
  certificates: 1,
  events: { accepted: 1, order_failed: 1, retry_asked: 1, issued: 1 },
};

/** Our own database refuses a commit, as a bug or a full disk would have it. */
const refusedCommit: Scenario = {
  name: 'a commit is refused',
  points: ['release'],
  async begin(world) {
    await world.sql.unsafe(`
      create function public.refuse() returns trigger language plpgsql as $$
      begin
        raise exception 'injected';
      end
      $$;
      create trigger refuse before update on acme_private."order"
        for each row when (new.state = 'issued') execute function public.refuse();`);
    return insertTwoNames(world);
  },
  async finish(world, csr) {
    await world.sql`drop trigger refuse on acme_private."order"`;
    await issued(world, csr);
  },
  certificates: 1,
  events: { accepted: 1, order_finalized: 1, issued: 1 },
};

/** An application changes its mind while its order waits for a person. */
const cancel: Scenario = {
  name: 'cancel',
  points: ['authorization.deactivate', 'order_cancelled'],
  async begin(world) {
    await world.sql`
      insert into acme.solver (name, challenge_type, method, names)
      values ('by-hand', 'http-01', 'manual', '{*}')`;
    return world.insert({ names: [freshName()] }, { solver: 'by-hand' });
  },
  async provoke(world, csr) {
    await world.reach(csr, 'ordering');
    await world.sql`select acme.cancel(${csr})`;
  },
  async finish(world, csr) {
    await world.reach(csr, 'cancelled', 30_000);
  },
  certificates: 0,
  events: { accepted: 1, cancelled: 1 },
};

/** A certificate is revoked after another one has taken its place. */
const revocation: Scenario = {
  name: 'revoke',
  points: ['certificate.revoke', 'certificate_revoked'],
  async begin(world) {
    const csr = await insertTwoNames(world);
    const first = await world.rescuer();
    await issued(world, csr);
    await first.stop();
    await world.sql`select acme.revoke(${csr}, 'superseded', after_replacement => true)`;
    return csr;
  },
  async finish(world, csr) {
    await until(
      async () =>
        (
          await world.sql`
            select from acme.certificate where csr_id = ${csr} and state = 'revoked'`
        ).length === 1,
      { what: 'the old certificate is revoked', timeoutMs: 30_000 },
    );
    await issued(world, csr);
  },
  certificates: 2,
  events: { revocation_requested: 1, certificate_revoked: 1, issued: 2 },
};

/** An authorization is given up after its certificate was issued. */
const giveUp: Scenario = {
  name: 'deactivate an authorization',
  points: ['authorization.give_up', 'authorization_deactivated'],
  async begin(world) {
    const csr = await insertTwoNames(world);
    const first = await world.rescuer();
    await issued(world, csr);
    await first.stop();
    await world.sql`select acme.deactivate_authorization(min(id)) from acme.authorization`;
    return csr;
  },
  async finish(world) {
    await until(
      async () =>
        (await world.sql`select from acme.authorization where state = 'deactivated'`).length === 1,
      { what: 'the authorization is deactivated', timeoutMs: 30_000 },
    );
    const events = await world.sql<{ event: string }[]>`
      select event from acme.event where event like '%deactivat%' order by id`;
    expect(events.map(({ event }) => event)).toEqual([
      'deactivation_requested',
      'authorization_deactivated',
    ]);
  },
  certificates: 1,
  events: { order_finalized: 1, issued: 1 },
};

/** The wake-up of an INSERT was lost, and the minutely sweep finds it. */
const sweep: Scenario = {
  name: 'lost wake-up',
  points: ['reconcile'],
  async begin(world) {
    const csr = await insertTwoNames(world);
    await world.sql`
      select acme_worker.complete_jobs(array(
        select id from acme_worker.jobs where task_identifier = 'dispatch'))`;
    await world.sql`select from acme_worker.add_job('reconcile', '{}'::json)`;
    return csr;
  },
  finish: issued,
  certificates: 1,
  events: { accepted: 1, order_finalized: 1, issued: 1 },
};

/** A day later the directory is read again. */
const lookAgain: Scenario = {
  name: 'a directory is read again',
  points: ['server.directory'],
  begin: insertTwoNames,
  async provoke(world, csr) {
    await issued(world, csr);
    await world.sql`update acme_private.server_fact set at = at - interval '25 hours'`;
    await world.sql`select from acme_worker.add_job('features', '{}'::json, job_key := 'features')`;
  },
  async finish(world) {
    const isFresh = async () =>
      (
        await world.sql`
          select from acme_private.server_fact where how = 'directory' and at > now() - interval '1 hour'`
      ).length > 0;
    await until(isFresh, { what: 'the directory is read after all', timeoutMs: 30_000 });
  },
  certificates: 1,
  events: { accepted: 1, order_finalized: 1, issued: 1 },
};

/** A certificate, by a worker that then stops; with a name that the CA can reach. */
async function issueFirst(world: CrashWorld): Promise<string> {
  const csr = await insertTwoNames(world);
  const first = await world.rescuer();
  await issued(world, csr);
  await first.stop();
  return csr;
}

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
    await tx`
      insert into acme_private.account_key (account_id, state, jwe, thumbprint, spki_sha256, sent_at)
      select id, 'pending', ${stored}, ${key.thumbprint}, ${spki}, now() - interval '6 minutes'
        from acme.account where name = 'main'`;
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
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    const [row] = await tx<[{ id: string; order_id: string }]>`
      select id, order_id from acme_private.certificate where csr_id = ${csr} order by id desc limit 1`;
    await tx`delete from acme_private.certificate_name where certificate_id = ${row.id}`;
    await tx`delete from acme_private.certificate where id = ${row.id}`;
    await tx`delete from acme_private.order_authorization where order_id = ${row.order_id}`;
    await tx`delete from acme_private."order" where id = ${row.order_id}`;
    await tx`delete from acme_private.event where order_id = ${row.order_id}`;
    await tx`update acme_private.certificate set state = 'current' where csr_id = ${csr}`;
    await tx`
      update acme_private.csr_state s
         set certificate_id = (select k.id from acme_private.certificate k where k.csr_id = s.csr_id)
       where s.csr_id = ${csr}`;
  });
  await sql`select acme_private.adopt_restored(null)`;
}

const scenarios: readonly Scenario[] = [
  issue,
  issueSlowly,
  renew,
  validation,
  refusedCommit,
  cancel,
  revocation,
  giveUp,
  sweep,
  lookAgain,
  tellAccount,
  rollOver,
  refusedRollOver,
  deactivate,
  restored,
];

/** The scenario in which a worker comes to this crash point. */
export function scenarioOf(point: string): Scenario {
  const prefix = point.slice(0, point.lastIndexOf('.'));
  const found = scenarios.find(({ points }) => points.includes(prefix));
  if (found === undefined) {
    throw new Error(`No scenario of test/crash/scenarios.ts comes to ${point}; add it to one.`);
  }
  return found;
}
