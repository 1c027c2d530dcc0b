import { PgacmeError } from '../../errors.ts';
import { type CliConfig, readCliConfig } from '../cli-config.ts';
import { type Finding, ok, problem } from './finding.ts';

/** Reads the environment as every command does; what is wrong there hides nothing that is not. */
export function readEnvironment(env: NodeJS.ProcessEnv): {
  config: CliConfig | undefined;
  findings: Finding[];
} {
  try {
    return { config: readCliConfig(env), findings: [ok('Every variable can be read.')] };
  } catch (error) {
    const findings = problemsOf(error);
    // Whatever the variables of pgacme say, the database may still be looked at.
    const database = Object.entries(env).filter(([name]) => !name.startsWith('PGACME_'));
    try {
      return { config: readCliConfig(Object.fromEntries(database)), findings };
    } catch (other) {
      problemsOf(other);
      return { config: undefined, findings };
    }
  }
}

function problemsOf(error: unknown): Finding[] {
  if (!(error instanceof PgacmeError) || error.code !== 'ERR_CONFIG') throw error;
  return error.message.split('\n').map(problem);
}
