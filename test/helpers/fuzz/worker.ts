import type postgres from 'postgres';
import { type Claim, type ReceivedCsr, Steps, type Verdict } from '../../../src/db/steps/steps.ts';
import { workerRow } from '../state/index.ts';
import {
  authorizationFacts,
  certificateFacts,
  type Draw,
  failureOf,
  offered,
  orderFacts,
  windowFrom,
} from './outcomes.ts';
import type { World } from './world.ts';

/** A row that a worker holds, or a batch of csrs to judge. */
export type Held =
  { claim: Claim; job?: string | undefined } | { lease: string; rows: ReceivedCsr[] };

/** A commit that always succeeds. */
export const SUCCESS: Draw = { b: 0, c: 1 };

/**
 * A worker whose every move somebody else decides. It keeps what it was given for as long as it likes,
 * also when the lease ran out meanwhile, and then commits it all the same.
 */
export interface FuzzWorker {
  name: string;
  steps: Steps;
  held: Held[];
}

/** Signs one in, with a connection of its own. */
export async function makeWorker(world: World, name: string): Promise<FuzzWorker> {
  const sql = await world.database.as('acme_worker', { login: name, max: 1 });
  const worker = Number(await workerRow(world.database.sql, name));
  return { name, steps: new Steps(sql, worker), held: [] };
}

/** One turn of the dispatcher; what it brings is held. */
export async function dispatch(
  world: World,
  worker: FuzzWorker,
  batch: { lease: string; rows: ReceivedCsr[] } | null,
  take: number,
  draw: Draw,
): Promise<string> {
  const verdicts = batch === null ? [] : batch.rows.map((row) => verdictOf(world, row, draw));
  const turn = await worker.steps.dispatch(batch?.lease ?? null, verdicts, take);
  if (turn.received.rows.length > 0) worker.held.push({ ...turn.received });
  hold(worker, turn.claims);
  return `dispatch ${verdicts.map(({ csr_id, reasons }) => `csr ${String(csr_id)} ${reasons.length === 0 ? 'good' : 'bad'}`).join(', ')}, got ${told(turn.claims)}, to judge ${turn.received.rows.map((row) => row.csr_id).join(' ')}`;
}

function verdictOf(world: World, row: ReceivedCsr, { b }: Draw): Verdict {
  const names = world.names.get(row.pem) ?? [];
  const isBad = b >= 90;
  return {
    csr_id: row.csr_id,
    identifiers: names,
    domains: names.map((name) => name.split('.').slice(-2).join('.')),
    // Some share a key.
    spki: String(row.csr_id % 8).padStart(2, '0'),
    reasons: isBad ? [{ code: 'bad_signature', text: 'Its signature is wrong.' }] : [],
  };
}

/** Keeps these claims; a null among them would be a bug of the function that gave it. */
export function hold(worker: FuzzWorker, claims: Claim[]): void {
  for (const claim of claims) worker.held.push({ claim });
}

/** Performs the step of a claim and commits what came of it, success below 80. Says what was done. */
export async function commit(
  world: World,
  worker: FuzzWorker,
  claim: Claim,
  draw: Draw,
  take: number,
): Promise<string> {
  const { steps } = worker;
  const row = `${claim.kind} ${String(claim.id)}`;
  const next = async (what: string, claims: Promise<Claim[]>) => {
    const got = await claims;
    hold(worker, got);
    return `${what} ${row}, got ${told(got)}`;
  };
  if (claim.step === null) {
    await steps.release(claim);
    return `release ${row}: no step`;
  }
  if (draw.b >= 80) {
    const failure = failureOf(claim, draw);
    return next(
      `step_failed ${claim.step} ${failure.class}`,
      steps.stepFailed(claim, failure, take),
    );
  }
  if (claim.kind === 'account') return register(worker, claim);
  if (claim.kind === 'certificate') {
    await steps.certificateRevoked(claim, {
      account: claim.account_id,
      wasRevoked: draw.b % 2 === 0,
    });
    return `certificate_revoked ${row}`;
  }
  if (claim.kind === 'authorization') {
    if (claim.step === 'deactivate') {
      world.valid.delete(claim.url);
      const ended = steps.authorizationDeactivated(claim, 'deactivated', take);
      return next('authorization_deactivated', ended);
    }
    const isValid = world.valid.has(claim.url);
    if (claim.challenge === null && draw.b < 50 && !isValid) return choose(world, worker, claim);
    world.valid.add(claim.url);
    const facts = authorizationFacts(claim.url, world.now());
    return next('authorization_proved', steps.authorizationProved(claim, facts, take));
  }
  switch (claim.step) {
    case 'create': {
      if (claim.may_wait && draw.c < 50) {
        const window = windowFrom(world.now(), draw.b);
        const later = await steps.renewalWindow(claim, window, take);
        if (later !== null) return next('renewal_window', Promise.resolve(later));
      }
      const facts = orderFacts(claim, world.now(), draw);
      return next(`order_created ${facts.status}`, steps.orderCreated(claim, facts, take));
    }
    case 'finalize': {
      const url = draw.b % 4 === 3 ? undefined : `${claim.url ?? ''}/certificate`;
      if (claim.state === 'cancelled' && url !== undefined) {
        const certificate = certificateFacts(claim, world.now());
        return next('unwanted certificate', steps.certificateStored(claim, certificate, take));
      }
      const what = `order_finalized ${url === undefined ? 'not yet' : 'done'}`;
      return next(
        what,
        steps.orderFinalized(
          claim,
          { certificateUrl: url, wasSent: draw.b % 2 === 0, retryAfterMs: draw.c * 2000 },
          take,
        ),
      );
    }
    case 'download':
      return next(
        'certificate_stored',
        steps.certificateStored(claim, certificateFacts(claim, world.now()), take),
      );
    case 'cancel': {
      const ids = (await steps.abandonedAuthorizations(claim.id)).map(({ id }) => id);
      return next('order_cancelled', steps.orderCancelled(claim, ids, take));
    }
  }
}

async function choose(
  world: World,
  worker: FuzzWorker,
  claim: Claim & { kind: 'authorization' },
): Promise<string> {
  const intended = await worker.steps.challengeIntended(claim, {
    ...authorizationFacts(claim.url, world.now()),
    offered: offered(claim.url),
  });
  if (intended !== null && 'challenge' in intended && intended.challenge.is_published) {
    worker.held.push({ claim: { ...claim, challenge: intended.challenge } });
  }
  return `challenge_intended authorization ${String(claim.id)}: ${JSON.stringify(intended)}`;
}

async function register(
  { steps }: FuzzWorker,
  claim: Claim & { kind: 'account' },
): Promise<string> {
  const { jwe, name } = await steps.accountRecord(claim.id);
  if (jwe === null) {
    const key = { jwe: 'sealed', thumbprint: name, spki: Buffer.from(name) };
    if (!(await steps.accountKeyStored(claim, key))) return 'account_key_stored: too late';
  }
  const url = `https://ca.example.org/account/${String(claim.id)}`;
  await steps.accountRegistered(claim, { url, status: 'valid', termsUrl: undefined });
  return `account_registered ${String(claim.id)}`;
}

function told(claims: Claim[]): string {
  return claims
    .map(({ kind, id, step }) => `${kind} ${String(id)} (${step ?? 'no step'})`)
    .join(', ');
}

/** The pool that an administrator's look at leases uses: kind, id, token, and whether it still holds. */
export function leases(sql: postgres.Sql) {
  return sql<{ row: string; token: string; holds: boolean }[]>`
    select 'order ' || id as row, lease_token as token, lease_until >= acme_private.clock() as holds
      from acme_private."order" where lease_token is not null
    union all
    select 'authorization ' || id, lease_token, lease_until >= acme_private.clock()
      from acme_private.authorization where lease_token is not null
    union all
    select 'account ' || account_id, lease_token, lease_until >= acme_private.clock()
      from acme_private.account_state where lease_token is not null
    union all
    select 'certificate ' || id, lease_token, lease_until >= acme_private.clock()
      from acme_private.certificate where lease_token is not null
    union all
    select 'csr ' || csr_id, lease_token, lease_until >= acme_private.clock()
      from acme_private.csr_state where lease_token is not null`;
}
