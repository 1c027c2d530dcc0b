import type { Sql } from '../db/steps/connect.ts';
import { PgacmeError } from '../errors.ts';

/** The version of the SQL contract (acme.version()) that this worker speaks. */
const SERVED = '0.3';

/** Whether a worker of this version can work on a database of that contract. */
export function serves(contract: string): boolean {
  return contract === SERVED;
}

/**
 * Looks whether this worker and the database fit, and returns the queue's schema.
 *
 * @throws PgacmeError ERR_NOT_MIGRATED: there is no pgacme, or not for this login; ERR_CONTRACT: there is
 *   one of another version, so that the worker has to wait until one of the two is upgraded.
 */
export async function checkContract(sql: Sql): Promise<string> {
  const [there] =
    await sql`select to_regclass('acme_private.installation') is not null as "isThere"`;
  if (there?.['isThere'] !== true) {
    throw new PgacmeError(
      'ERR_NOT_MIGRATED',
      'This database has no pgacme, or not for this login. Run pgacme migrate, and make the login a member of acme_worker.',
    );
  }
  const [row] = await sql<{ contract: string; schema: string }[]>`
    select acme.version() as contract, acme_private.worker_schema() as schema`;
  if (row === undefined || !serves(row.contract)) {
    throw new PgacmeError(
      'ERR_CONTRACT',
      `The database speaks version ${row?.contract} of the SQL contract and this worker ${SERVED}: it waits. Run pgacme migrate of the newer of the two, or start a newer worker.`,
    );
  }
  return row.schema;
}

/**
 * Looks whether the session has what workers rely on. A pooler may keep it from being set (src/db/steps/settings.ts).
 *
 * @throws PgacmeError ERR_SETTINGS, with the statement that sets it.
 */
export async function checkSettings(sql: Sql): Promise<void> {
  const wrong = await sql<{ name: string; setting: string; needed: string }[]>`
    select v.name, current_setting(v.name) as setting, v.needed
      from (values ('default_transaction_isolation', 'read committed'), ('default_transaction_read_only', 'off')) v (name, needed)
     where current_setting(v.name) <> v.needed`;
  const [first] = wrong;
  if (first === undefined) return;
  const login = await sql<[{ name: string }]>`
    select format('%s in database %I', quote_ident(session_user), current_database()) as name`;
  const statements = wrong.map(
    ({ name, needed }) => `alter role ${login[0].name} set ${name} = '${needed}';`,
  );
  throw new PgacmeError(
    'ERR_SETTINGS',
    `The pooler does not let a worker set what it needs, and ${wrong.map(({ name, setting }) => `${name} is ${setting}`).join(', ')}. Have an administrator run: ${statements.join(' ')} then RECONNECT in the pooler.`,
  );
}
