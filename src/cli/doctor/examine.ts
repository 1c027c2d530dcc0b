import { printable } from '../../acme/text.ts';
import { connect, type Sql } from '../../db/steps/connect.ts';
import { primaryOf } from '../../db/steps/hosts.ts';
import type { CliConfig } from '../cli-config.ts';
import { databaseSentence } from '../database-error.ts';
import { accountsCheck } from './accounts.ts';
import { attentionCheck } from './attention.ts';
import { clocksCheck } from './clocks.ts';
import { databaseCheck } from './database.ts';
import { readEnvironment } from './environment.ts';
import { type Facts, readFacts } from './facts.ts';
import { type Check, type Finding, type Patient, problem } from './finding.ts';
import { listenCheck } from './listen.ts';
import { poolerCheck } from './pooler.ts';
import { queueCheck } from './queue.ts';
import { rolesCheck } from './roles.ts';
import { schemaCheck } from './schema.ts';
import { secretCheck } from './secret.ts';
import { askServers, serversCheck } from './servers.ts';
import { sessionsCheck } from './sessions.ts';
import { workersCheck } from './workers.ts';

/** What was found in one group. */
export interface Examined {
  name: string;
  findings: Finding[];
}

/** Looks at everything; what fails in one check is a finding of that check, and the next one runs. */
export async function* examine(env: NodeJS.ProcessEnv): AsyncGenerator<Examined> {
  const { config, findings } = readEnvironment(env);
  yield { name: 'Environment', findings };
  if (config === undefined) return;
  const { sql, findings: reached } = await reach(config, env);
  try {
    const { facts, findings: seen } = await look(sql, env);
    yield { name: 'Database', findings: [...reached, ...seen] };
    const patient: Patient = { env, config, sql, facts };
    const asked = askServers(facts?.servers ?? []);
    const checks: Check[] = [
      attentionCheck,
      databaseCheck,
      sessionsCheck,
      poolerCheck,
      schemaCheck,
      rolesCheck,
      queueCheck,
      secretCheck,
      serversCheck(asked),
      clocksCheck(asked),
      accountsCheck,
      workersCheck,
      listenCheck,
    ];
    for (const check of checks) {
      const found = await check.run(patient).catch((error: unknown) => [failed(error, env)]);
      if (found.length > 0) yield { name: check.name, findings: found };
    }
  } finally {
    await sql?.end({ timeout: 2 });
  }
}

/** A standby is looked at as well, so that the finding can say that it is one. */
async function reach(
  config: CliConfig,
  env: NodeJS.ProcessEnv,
): Promise<{ sql: Sql | undefined; findings: Finding[] }> {
  let sql: Sql | undefined;
  try {
    const databaseUrl = await primaryOf(config.databaseUrl);
    config.databaseUrl = databaseUrl;
    // Through whatever pooler: no prepared statements.
    sql = connect({ databaseUrl, name: 'pgacme doctor', max: 1, isPooled: true });
    await sql`select`;
    const { host, port, database, user } = config.target;
    const where = printable(`${database} at ${host}:${port}, as user ${user}`, 300);
    return { sql, findings: [{ level: 'ok', text: `${where}, can be reached.` }] };
  } catch (error) {
    await sql?.end({ timeout: 2 });
    return { sql: undefined, findings: [failed(error, env)] };
  }
}

async function look(
  sql: Sql | undefined,
  env: NodeJS.ProcessEnv,
): Promise<{ facts: Facts | undefined; findings: Finding[] }> {
  if (sql === undefined) return { facts: undefined, findings: [] };
  try {
    return { facts: await readFacts(sql), findings: [] };
  } catch (error) {
    return { facts: undefined, findings: [failed(error, env)] };
  }
}

/** Only messages that are sentences of ours, or PostgreSQL's: an error may hold a URL with its password. */
function failed(error: unknown, env: NodeJS.ProcessEnv): Finding {
  const said = databaseSentence(error, 'acme_worker', env);
  if (said !== undefined) return problem(said);
  const name = error instanceof Error ? error.name : 'an unknown error';
  const text = error instanceof Error ? printable(error.message, 200) : '';
  return problem(`This could not be looked at (${name}: ${text}).`);
}
