import { PgacmeError } from '../errors.ts';
import type { Output } from './output.ts';

/** 0 done, 1 failed, 2 used wrongly. Of `status --check`: 0 well, 1 warning, 2 critical, 3 it cannot tell. */
export type ExitCode = 0 | 1 | 2 | 3;

/** What a command is run with. */
export interface Invocation {
  /** The flags that were given, without their dashes. */
  flags: ReadonlySet<string>;
  /** The options that were given, without their dashes, with their values. */
  options: ReadonlyMap<string, string>;
  /** What was given besides, as many as the command takes at most. */
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  output: Output;
}

/** One word of the command line: how it is used, and what it does. */
export interface Command {
  /** One word, or two: the first is that of a group (`account export`). */
  name: string;
  /** A line for the overview. */
  summary: string;
  /** What its `--help` says below the usage line, without the flags. */
  help: string;
  /** Flags of its own and what they do. */
  flags: Readonly<Record<string, string>>;
  /** Options of its own that have a value (`FILE`), and what they are for. */
  options?: Readonly<Record<string, { value: string; text: string; isRequired?: boolean }>>;
  /** What it takes besides, in this order: `NAME`, or `[NAME]` where it can do without. */
  args?: readonly string[];
  /** The role that a login has to be a member of; undefined: it has its own database. */
  role?: 'acme_owner' | 'acme_worker' | 'acme_reader' | 'acme_admin';
  /** Whether it can run here, where that is not everywhere: the overview lists only what can. */
  isAvailable?: () => Promise<boolean>;
  run(invocation: Invocation): Promise<ExitCode>;
  /** Another end than reportError's for these arguments, given the error's sentence; undefined: none. */
  failed?(args: readonly string[], sentence: string): { line: string; code: ExitCode } | undefined;
}

/** The command line was used wrongly: `message` says how, `usage` how it is right. Code `ERR_USAGE`. */
export class UsageError extends PgacmeError {
  override readonly name = 'UsageError';
  readonly usage: string;

  constructor(message: string, usage: string) {
    super('ERR_USAGE', message);
    this.usage = usage;
  }
}
