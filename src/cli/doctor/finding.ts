import type { Sql } from '../../db/steps/connect.ts';
import type { CliConfig } from '../cli-config.ts';
import type { Facts } from './facts.ts';

/** How it stands with one thing: as it should; not now, but it may hurt; or it does not work. */
export type Level = 'ok' | 'warning' | 'problem';

/** What was found: what is wrong and what to do, in a sentence or two without secrets. */
export interface Finding {
  level: Level;
  text: string;
}

/** What checks look at. What a check needs and is not there was found missing by one before it. */
export interface Patient {
  env: NodeJS.ProcessEnv;
  config: CliConfig;
  /** undefined: the database cannot be reached. */
  sql: Sql | undefined;
  /** undefined: the database has no pgacme of this version, or not for this login. */
  facts: Facts | undefined;
}

/** A group of things that are looked at together. */
export interface Check {
  name: string;
  run(patient: Patient): Promise<Finding[]>;
}

export const ok = (text: string): Finding => ({ level: 'ok', text });
export const warning = (text: string): Finding => ({ level: 'warning', text });
export const problem = (text: string): Finding => ({ level: 'problem', text });
