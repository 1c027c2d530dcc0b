import { printable } from '../acme/text.ts';
import type { Sql } from '../db/steps/connect.ts';
import { PgacmeError } from '../errors.ts';
import { version } from '../version.ts';
import { Closers } from './closers.ts';
import { EventLog, type LogEvent } from './event-log.ts';
import { keptCsr, takeFolder } from './folder.ts';
import { type Parts, startParts } from './parts.ts';
import { showCertificate, showPsql } from './result.ts';
import { type Asked, insertServerAndAccount, requestCertificate } from './rows.ts';
import type { Show } from './show.ts';
import { Watch } from './watch.ts';

/** How to run the quickstart. */
export interface QuickstartOptions {
  /** Holds everything that is kept: an absolute path. */
  folder: string;
  /** End after the first certificate. */
  isOnce: boolean;
  show: Show;
  /** Aborted: stop everything in order. */
  stopping: AbortSignal;
}

/** Takes a fraction of a second; but what a killed start was at is taken up when its lease ends, within two minutes. */
const CERTIFICATE_MS = 180_000;
/** After this long without a certificate it says what it waits for. */
const PATIENCE_MS = 5000;
const ACCOUNT_MS = 15_000;

/**
 * Shows what pgacme does, on this machine alone: a database, a test CA and a worker of its own, one CSR,
 * and its certificate. Returns when it was told to stop, or after the first certificate if `isOnce`;
 * nothing of it runs any more then.
 *
 * @throws LocalError when a part is missing or in the way; PgacmeError ERR_QUICKSTART when a part ends by
 * itself, or `isOnce` and there was no certificate.
 */
export async function quickstart(options: QuickstartOptions): Promise<void> {
  const { folder, show, stopping } = options;
  show.line(`pgacme ${version} quickstart: all of it is in ${folder}`);
  const closers = new Closers();
  const claim = await takeFolder(folder, 'The quickstart');
  closers.add(() => claim.release());
  try {
    const parts = await startParts(folder, { show, stopping, closers });
    await run(parts, options);
  } catch (error) {
    // What the wish to stop has cut off did not fail.
    if (!stopping.aborted) throw error;
  } finally {
    await closers.closeAll();
    show.line('Stopped.');
  }
}

async function run(
  parts: Parts,
  { folder, isOnce, show, stopping }: QuickstartOptions,
): Promise<void> {
  const { sql, postgres, pebble } = parts;
  const watch = new Watch(await EventLog.fromNow(sql), show, () => parts.check(), stopping);
  await insertServerAndAccount(sql, pebble, show);
  if (!(await isRegistered(sql))) {
    await watch.until(({ event }) => event === 'account_registered', { ms: ACCOUNT_MS });
  }
  stopping.throwIfAborted();
  const asked = await requestCertificate(sql, await keptCsr(folder), show);
  const end =
    (await watch.untilEnd(asked, PATIENCE_MS)) ?? (await waitOn(sql, watch, asked, show, stopping));
  stopping.throwIfAborted();
  if (end?.event === 'issued' && end.certificateId !== null) {
    await showCertificate(sql, end.certificateId, end.at - asked.at, show);
  } else {
    const [row] = await sql<{ text: string }[]>`select acme.explain(${asked.csrId}) as text`;
    if (isOnce) throw new PgacmeError('ERR_QUICKSTART', `No certificate came: ${row?.text ?? ''}`);
    show.line();
    show.line(row?.text ?? '');
  }
  if (isOnce) return;
  await showPsql(folder, postgres, asked.csrId, show);
  show.line();
  show.line('What you do there is shown here as it happens; Ctrl-C ends it and keeps the rows.');
  await watch.until(() => false, { everyMs: 250 });
}

/** Says why nothing has come yet, and waits on. */
async function waitOn(
  sql: Sql,
  watch: Watch,
  asked: Asked,
  show: Show,
  stopping: AbortSignal,
): Promise<LogEvent | undefined> {
  if (stopping.aborted) return undefined;
  const [row] = await sql<{ reason: string | null }[]>`
    select reason
      from acme.csr_status
     where id = ${asked.csrId}`;
  const held = 'If an earlier start was killed: what it was at is taken up within two minutes.';
  show.line(`  No certificate yet. ${printable(row?.reason ?? held, 300)}`);
  return watch.untilEnd(asked, CERTIFICATE_MS);
}

/** Registered before this start, at the Pebble of that time, counts: the worker finds out by itself. */
async function isRegistered(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ state: string }[]>`
    select state
      from acme.account_status
     where name = 'quickstart'`;
  return row?.state === 'valid';
}
