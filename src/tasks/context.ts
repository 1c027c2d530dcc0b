import type { Logger } from 'pino';
import type { Call } from '../acme/index.ts';
import type { Steps } from '../db/steps/steps.ts';
import type { Published } from '../solver/published.ts';
import type { Accounts } from './accounts.ts';
import type { Seen } from './seen.ts';

/** What every step has at hand. */
export interface Context {
  steps: Steps;
  accounts: Accounts;
  /** What answers show about their servers goes here. */
  seen: Seen;
  /** For the responder of this process. */
  published: Published;
  log: Logger;
  /** Aborted when the worker is asked to stop: finish the request under way, commit, hand back. */
  stopping: AbortSignal;
  /** Aborted when the worker has lost its lock: what it holds is another's now, requests under way end. */
  lost: AbortSignal;
}

/** One step on a held row: what it may call until when, and how many claims it may go on with. */
export interface Hold extends Context {
  /** For every request: nothing is sent in the last 5 s of the lease, nor once the lock is lost. */
  call: Call & { deadline: number };
  /** How many claims of the same csr to take over. */
  take: number;
  /** How many claims on other csrs to take over. */
  takeOther: number;
}
