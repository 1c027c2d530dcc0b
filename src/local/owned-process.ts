import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalError } from './local-error.ts';

// The process becomes the program (`exec`), so its pid is the program's. Beside it waits one reader of
// a pipe whose other end only we hold: however we end, also by SIGKILL, the pipe closes and the reader
// ends the program. A line in the pipe instead says that the program has ended already. The reader is
// forked twice, so that the program (a postmaster counts its children) does not inherit it.
const GUARD = `
signal=$1; shift
( (IFS= read -r _ <&3 || kill -s "$signal" $$) >/dev/null 2>&1 & )
exec 3<&-
exec "$@"`;

/** A program that runs beside us and ends with us. */
export interface OwnedProcess {
  readonly pid: number;
  /** Settles when the program has ended. */
  readonly ended: Promise<void>;
  /** Why it ended, else undefined while it runs. */
  exit(): string | undefined;
  /** The last lines that it printed. */
  tail(): readonly string[];
  /** Sends the end signal, then harder ones, and waits until the program is gone. */
  stop(): Promise<void>;
}

/** What to run, as whom, and how it is asked to end. */
export interface OwnedProcessOptions {
  command: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
  cwd?: string;
  /** Signals in order, the next one when the program still runs after `stopMs`. */
  stopSignals: readonly [NodeJS.Signals, ...NodeJS.Signals[]];
  stopMs?: number;
  log?: ((line: string) => void) | undefined;
}

/**
 * Starts a program in a session of its own (Ctrl-C on our terminal does not reach it before we have
 * finished) which ends when this process ends, however that happens. It does not keep this process alive.
 */
export function startOwned(options: OwnedProcessOptions): OwnedProcess {
  const first = options.stopSignals[0];
  const child = spawn(
    '/bin/sh',
    ['-c', GUARD, 'guard', first.slice(3), options.command, ...options.args],
    {
      cwd: options.cwd ?? '/',
      env: options.env ?? process.env,
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    },
  );
  child.on('error', () => undefined);
  const pid = child.pid;
  if (pid === undefined) {
    throw new LocalError('ERR_LOCAL_START', `${options.command} could not be started.`);
  }

  const lines: string[] = [];
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > 20) lines.shift();
    options.log?.(line);
  };
  for (const stream of [child.stdout, child.stderr] as Readable[]) {
    createInterface({ input: stream }).on('line', keep);
  }

  const guard = child.stdio[3] as Writable;
  guard.on('error', () => undefined);
  let exit: string | undefined;
  const ended = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = signal ?? `exit code ${String(code)}`;
      guard.end('ended\n');
    });
    child.once('close', () => {
      resolve();
    });
  });

  child.unref();
  for (const stream of child.stdio) (stream as Socket | null)?.unref();

  return {
    pid,
    ended,
    exit: () => exit,
    tail: () => lines,
    async stop() {
      child.ref();
      for (const signal of options.stopSignals) {
        if (exit !== undefined) break;
        child.kill(signal);
        const waiting = new AbortController();
        const late = delay(options.stopMs ?? 5_000, undefined, { signal: waiting.signal });
        await Promise.race([ended, late.catch(() => undefined)]);
        waiting.abort();
      }
      await ended;
    },
  };
}
