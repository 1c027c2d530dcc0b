import { setTimeout as delay } from 'node:timers/promises';
import { AcmeTrouble } from '../acme/index.ts';
import type { Claim, Dispatched, Failure, JobPayload, Verdict } from '../db/steps/steps.ts';
import { PgacmeError } from '../errors.ts';
import { deactivate } from './account/deactivate.ts';
import { register } from './account/register.ts';
import { reread } from './account/reread.ts';
import { rollOver } from './account/roll-over.ts';
import { update } from './account/update.ts';
import { giveUp } from './authorization/give-up.ts';
import { preauthorize } from './authorization/preauthorize.ts';
import { prove } from './authorization/prove.ts';
import { revoke } from './certificate/revoke.ts';
import type { Context, Hold } from './context.ts';
import { judge } from './csr/judge.ts';
import { cancel } from './order/cancel.ts';
import { create } from './order/create.ts';
import { download } from './order/download.ts';
import { finalize } from './order/finalize.ts';
import { failureOf } from './outcome.ts';
import { whatOf } from './report.ts';
import { seenInFailure } from './seen.ts';

/** Authorizations of one order that run side by side in one worker. */
const SIDE_BY_SIDE = 16;
/** A job goes on with the next csr in line for this long, then lets other jobs have the worker. */
const JOB_MS = 5000;
/** The longest pause between tries to give a lease back: all of them take about as long as it lasts. */
const GIVE_BACK_MS = 32_000;
/** Nothing is sent in the last seconds of a lease. */
const LEASE_MARGIN_MS = 5000;

/** The time in which this process got hold of something: claims are only as old as their answer. */
interface Run extends Context {
  startedAt: number;
}

/** The row of a job: claims it and follows its steps as far as they are due. */
export async function runRow(context: Context, { kind, id }: JobPayload): Promise<void> {
  const run = { ...context, startedAt: performance.now() };
  if (kind === 'csr') {
    await followAll(await context.steps.attend(id, context.stopping.aborted ? 0 : 1), run);
    return;
  }
  const claim = await context.steps.claim(kind, id);
  if (claim !== null) await follow(claim, run);
}

/**
 * One run of the dispatcher: judges what was received, batch after batch, then goes on with one of
 * the orders it admitted; the others are jobs.
 */
export async function runDispatch(context: Context): Promise<void> {
  const run = { ...context, startedAt: performance.now() };
  const { steps, stopping } = context;
  let turn = await steps.dispatch(null, [], stopping.aborted ? 0 : 1);
  while (turn.received.rows.length > 0) {
    const { lease, rows } = turn.received;
    try {
      const verdicts = await judgeAll(turn.received, run);
      turn = await steps.dispatch(lease, verdicts, stopping.aborted ? 0 : 1);
    } catch (error) {
      for (const { csr_id: id } of rows) {
        if (!(await giveBack({ kind: 'csr', id, lease }, run))) break;
      }
      throw error;
    } finally {
      steps.forget(lease);
    }
  }
  await followAll(turn.claims, run);
}

/** The verdicts of a batch. A csr that cannot be judged is given back by itself; the others go on. */
async function judgeAll({ lease, rows }: Dispatched['received'], run: Run): Promise<Verdict[]> {
  const judged = await Promise.allSettled(rows.map(judge));
  const verdicts: Verdict[] = [];
  for (const [at, one] of judged.entries()) {
    if (one.status === 'fulfilled') {
      verdicts.push(one.value);
      continue;
    }
    const id = rows[at]?.csr_id ?? 0;
    run.log.error({ kind: 'csr', id, error: one.reason as unknown }, 'the CSR could not be judged');
    await giveBack({ kind: 'csr', id, lease }, run);
  }
  return verdicts;
}

/** Follows claims side by side. All of them come to an end before an error of one passes on. */
async function followAll(claims: Claim[], run: Run): Promise<void> {
  const ends = await Promise.allSettled(claims.map((claim) => follow(claim, run)));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** Performs the step that is due and goes on with what its commit handed back. */
async function follow(first: Claim, run: Run): Promise<void> {
  let claims = [first];
  while (claims.length === 1 && claims[0] !== undefined) claims = await perform(claims[0], run);
  if (claims.length > 1) await followAll(claims, run);
}

async function perform(claim: Claim, run: Run): Promise<Claim[]> {
  const isStopping = run.stopping.aborted;
  const isLong = performance.now() - run.startedAt > JOB_MS;
  const hold: Hold = {
    ...run,
    call: {
      deadline: claim.asked_at + claim.lease_ms - LEASE_MARGIN_MS,
      signal: run.lost,
    },
    take: isStopping ? 0 : SIDE_BY_SIDE,
    takeOther: isStopping || isLong ? 0 : 1,
  };
  const startedAt = performance.now();
  try {
    const next = await step(claim, hold);
    run.log.debug(
      {
        ...whatOf(claim),
        step: claim.step,
        ms: Math.round(performance.now() - startedAt),
      },
      'step done',
    );
    return next;
  } catch (error) {
    // Whoever found this worker without its lock has freed the row, or is about to.
    if (run.lost.aborted) throw error;
    const failure = failureOf(error, claim);
    if (failure === undefined) {
      // A bug or our own database.
      await giveBack(claim, run);
      throw error;
    }
    if (error instanceof AcmeTrouble) {
      const { message, excerpt } = error;
      // An excerpt of an answer that is not ACME's goes to the log only: it may be an internal server's.
      run.log.info(
        { ...whatOf(claim), step: claim.step, error: message, ...(excerpt && { excerpt }) },
        'the server gave no answer that counts',
      );
    }
    try {
      // Before the commit, which may hand over claims.
      await tellFailure(claim, failure, run);
      return await run.steps.stepFailed(claim, failure, hold.takeOther);
    } catch (again) {
      await giveBack(claim, run);
      throw again;
    }
  } finally {
    run.steps.forget(claim.lease);
  }
}

/** What a failure shows of the server (acme.server_feature). */
async function tellFailure(claim: Claim, failure: Failure, { accounts, seen }: Run): Promise<void> {
  const facts = seenInFailure(failure);
  if (facts.length === 0) return;
  const account = await accounts.signerOrReason(claim);
  if (!(account instanceof PgacmeError)) await seen.tell(account.live.record.server, facts);
}

/**
 * Gives a lease back before an error passes on, or the retry would meet it and drop the work. While our database
 * is away that is tried again; false: nobody could, and it ends by itself.
 */
async function giveBack(
  claim: Parameters<Context['steps']['release']>[0],
  { steps, stopping }: Context,
): Promise<boolean> {
  for (let pause = 500; ; pause *= 2) {
    try {
      await steps.release(claim);
      return true;
    } catch {
      if (stopping.aborted || pause > GIVE_BACK_MS) return false;
    }
    await delay(pause, undefined, { signal: stopping }).catch(() => undefined);
  }
}

async function step(claim: Claim, hold: Hold): Promise<Claim[]> {
  switch (claim.step) {
    case 'register':
      return register(claim, hold);
    case 'update':
      return update(claim, hold);
    case 'reread':
      return reread(claim, hold);
    case 'roll_over':
      return rollOver(claim, hold);
    case 'deactivate':
      return claim.kind === 'account' ? deactivate(claim, hold) : giveUp(claim, hold);
    case 'create':
      return create(claim, hold);
    case 'preauthorize':
      return preauthorize(claim, hold);
    case 'prove':
      return prove(claim, hold);
    case 'finalize':
      return finalize(claim, hold);
    case 'download':
      return download(claim, hold);
    case 'cancel':
      return cancel(claim, hold);
    case 'revoke':
      return revoke(claim, hold);
    case null:
      // Nothing is due: an order's authorizations are under way, an account's work was done meanwhile.
      await hold.steps.release(claim);
      return [];
  }
}
