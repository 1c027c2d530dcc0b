import type { Logger } from 'pino';
import type { Steps } from '../db/steps.ts';
import type { Accounts } from './accounts.ts';

/** What every step has at hand. */
export interface Context {
  steps: Steps;
  accounts: Accounts;
  log: Logger;
  /** Aborted when the worker is asked to stop: finish the request under way, commit, hand back. */
  stopping: AbortSignal;
}

/** One step on a held row: what it may call until when, and how many claims it may go on with. */
export interface Hold extends Context {
  /** `performance.now()` after which nothing more may be sent: 5 s before the lease ends. */
  deadline: number;
  /** How many claims of the same csr to take over. */
  take: number;
  /** How many claims on other csrs to take over. */
  takeOther: number;
}
