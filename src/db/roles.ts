import type postgres from 'postgres';
import { PgacmeError } from '../errors.ts';

/** The roles of pgacme, none of which can log in: logins are made members of them. */
export const roles = [
  'acme_owner',
  'acme_worker',
  'acme_app',
  'acme_reader',
  'acme_responder',
  'acme_admin',
] as const;

/**
 * Makes the roles that are missing and their memberships. Roles belong to the cluster, so another
 * database may have made them, or be making them now.
 *
 * @throws PgacmeError ERR_ROLES with the statements for a DBA, when this login may not make them.
 */
export async function ensureRoles(tx: postgres.TransactionSql): Promise<void> {
  const present = await tx<{ rolname: string }[]>`
    select rolname
      from pg_roles
     where rolname in ${tx(roles)}`;
  const [login] = await tx<{ name: string }[]>`select quote_ident(current_user) as name`;
  const missing = roles.filter((role) => !present.some((row) => row.rolname === role));
  try {
    for (const role of missing) {
      await tx.unsafe(`
        do $$ begin
          create role ${role} nologin;
        exception when duplicate_object or unique_violation then
          null;
        end $$`);
    }
    await grantMembership(tx, 'acme_worker', 'acme_owner');
    await grantMembership(tx, 'acme_app', 'acme_admin');
    // PostgreSQL 16 gives the maker of a role only ADMIN: to act as it, it takes a grant of its own.
    await grantMembership(tx, 'acme_owner', null);
    await grantMembership(tx, 'acme_worker', null);
  } catch (error) {
    if (!isDenied(error)) throw error;
    throw new PgacmeError(
      'ERR_ROLES',
      `This login may not make the roles of pgacme. Have a superuser run: ${missing
        .map((role) => `create role ${role} nologin; `)
        .join('')}grant acme_worker to acme_owner; grant acme_app to acme_admin; ` +
        `grant acme_owner, acme_worker to ${login?.name ?? 'this login'}; then migrate again.`,
      { cause: error },
    );
  }
}

/** What to do where a role of pgacme needed CREATE on the database and nobody lent it; else undefined. */
export async function mayNotCreate(
  sql: postgres.Sql,
  error: unknown,
): Promise<PgacmeError | undefined> {
  if (!isDenied(error)) return undefined;
  if (!error.message.includes('permission denied for database')) return undefined;
  const [row] = await sql<{ name: string }[]>`select quote_ident(current_database()) as name`;
  const database = row?.name ?? '';
  return new PgacmeError(
    'ERR_ROLES',
    `This login may not create schemas in the database. Have a superuser run: grant create on database ${database} to acme_owner, acme_worker; ` +
      `then migrate again. Afterwards: revoke create on database ${database} from acme_owner, acme_worker;`,
    { cause: error },
  );
}

/** insufficient_privilege, from whichever of the two drivers. */
function isDenied(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && error.code === '42501';
}

/** Grants membership unless it is there (a superuser is a member of everything). member null: this login. */
async function grantMembership(
  tx: postgres.TransactionSql,
  role: string,
  member: string | null,
): Promise<void> {
  const [is] = await tx<{ member: boolean; version: number }[]>`
    select pg_has_role(coalesce(${member}::name, current_user), ${role}::name, 'usage')
             and pg_has_role(coalesce(${member}::name, current_user), ${role}::name, 'member') as member,
           current_setting('server_version_num')::int as version`;
  if (is?.member === true) return;
  const how = (is?.version ?? 0) >= 160000 ? ' with inherit true, set true' : '';
  await tx.unsafe(`
    do $$ begin
      grant ${role} to ${member ?? 'current_user'}${how};
    exception when unique_violation or internal_error then
      -- Another database of the cluster grants the same at this moment.
      null;
    end $$`);
}

/**
 * Lets a role create schemas in this database for a moment. Returns what takes it back; does nothing
 * where the role can already, or where this login cannot grant it (then a DBA must have).
 */
export async function lendCreate(
  sql: postgres.Sql | postgres.TransactionSql,
  role: string,
): Promise<() => Promise<void>> {
  const [may] = await sql<{ role: boolean; login: boolean; database: string }[]>`
    select has_database_privilege(${role}, current_database(), 'create') as role,
           has_database_privilege(current_database(), 'create with grant option')
             or pg_has_role(d.datdba, 'usage') as login,
           quote_ident(current_database()) as database
      from pg_database d
     where d.datname = current_database()`;
  if (may === undefined || may.role || !may.login) return () => Promise.resolve();
  await sql.unsafe(`grant create on database ${may.database} to ${role}`);
  return async () => {
    await sql.unsafe(`revoke create on database ${may.database} from ${role}`);
  };
}
