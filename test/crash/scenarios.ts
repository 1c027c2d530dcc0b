import { expect } from 'vitest';
import { age, all, renewalDue } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { freshName } from '../helpers/world.ts';
import { accountScenarios } from './account-scenarios.ts';
import { insertTwoNames, issued, issueFirst, type Scenario } from './scenario.ts';

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
    const csr = await issueFirst(world);
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

/** A renewal that is due long before the window of the CA, and waits for that. */
const renewLater: Scenario = {
  name: 'renew in the window',
  points: ['order.renewal_info', 'renewal_window'],
  async begin(world) {
    const csr = await issueFirst(world);
    await renewalDue(world.sql, csr);
    await world.sql`select acme_private.reconcile()`;
    return csr;
  },
  async finish(world, csr) {
    await until(async () => (await world.status(csr)).reason_code === 'renewal_window', {
      what: 'the renewal waits',
    });
  },
  certificates: 1,
  events: { renewal_due: 1, renewal_waits: 1, issued: 1 },
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
    const csr = await issueFirst(world);
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
    const csr = await issueFirst(world);
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

/** Later the directory is read again. */
const lookAgain: Scenario = {
  name: 'a directory is read again',
  points: ['server.directory', 'server_answered'],
  begin: insertTwoNames,
  async provoke(world, csr) {
    await issued(world, csr);
    await age(world.sql, 'server_fact', all, '25 hours', 'at');
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

const scenarios: readonly Scenario[] = [
  issue,
  issueSlowly,
  renew,
  renewLater,
  validation,
  refusedCommit,
  cancel,
  revocation,
  giveUp,
  sweep,
  lookAgain,
  ...accountScenarios,
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
