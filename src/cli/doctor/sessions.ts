import { encodingSentence } from '../../db/migrate/standing.ts';
import { SESSION, settingsFor } from '../../db/steps/settings.ts';
import { PgacmeError } from '../../errors.ts';
import { checkSettings } from '../../worker/contract.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

/** What sessions are set to that a worker cannot set itself, and what sessions of others hold up. */
export const sessionsCheck: Check = {
  name: 'Sessions',
  async run({ sql, facts, config }) {
    if (sql === undefined) return [];
    const found: Finding[] = [];
    const [is] = await sql<[{ encoding: string; database: string; timeout: string }]>`
      select current_setting('server_encoding') as encoding, quote_ident(current_database()) as database,
             (select reset_val from pg_settings where name = 'idle_in_transaction_session_timeout') as timeout`;
    if (is.encoding !== 'UTF8') found.push(problem(encodingSentence(is.database, is.encoding)));
    const isPooled = config.listenUrl !== undefined;
    if (isPooled || (await settingsFor(config.databaseUrl)) !== SESSION) {
      try {
        await checkSettings(sql);
      } catch (error) {
        if (!(error instanceof PgacmeError)) throw error;
        found.push(problem(error.message));
      }
    }
    if (facts === undefined) return found;
    const [unbounded] = await sql<[{ logins: string }]>`
      select array_to_string(acme_private.unbounded_logins(${is.timeout}), ', ') as logins`;
    if (unbounded.logins !== '') {
      found.push(
        warning(
          `Nothing ends a transaction that these logins leave open, and until it ends acme.changes tells nobody of anything: ${unbounded.logins}. For each of them: alter role ... set idle_in_transaction_session_timeout = '5min';`,
        ),
      );
    }
    return found.length > 0
      ? found
      : [
          ok(
            'Sessions have the settings that they need, and transactions that are left open have an end.',
          ),
        ];
  },
};
