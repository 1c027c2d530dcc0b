import type { TaskList } from 'graphile-worker';
import type { JobPayload } from '../db/steps/steps.ts';
import type { TaskIdentifier } from '../db/steps/task-identifiers.ts';
import { PgacmeError } from '../errors.ts';
import type { Context } from './context.ts';
import { runDispatch, runRow } from './run.ts';
import { lookAtServers } from './server/features.ts';

/** The queue's tasks. A job's name says which step was due when it was made; the row decides. */
export function makeTaskList(context: Context, tidy: () => Promise<void>): TaskList {
  const row = (payload: unknown) => runRow(context, stepPayload(payload));
  return {
    dispatch: () => runDispatch(context),
    attend: row,
    register: row,
    create: row,
    prove: row,
    finalize: row,
    download: row,
    cancel: row,
    revoke: row,
    reconcile: () => context.steps.reconcile(),
    features: () => lookAtServers(context),
    tidy,
  } satisfies Record<TaskIdentifier, unknown>;
}

const KINDS: readonly string[] = ['csr', 'order', 'authorization', 'account', 'certificate'];

/** The only place where payloads are unchecked. */
function stepPayload(payload: unknown): JobPayload {
  const { kind, id } = (payload ?? {}) as Partial<JobPayload>;
  if (typeof kind !== 'string' || !KINDS.includes(kind) || !Number.isInteger(id)) {
    throw new PgacmeError('ERR_PAYLOAD', 'A job of the queue names no row; remove it.');
  }
  return { kind, id: Number(id) };
}
