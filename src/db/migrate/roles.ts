import type postgres from 'postgres';
import { PgacmeError } from '../../errors.ts';
import { readStanding, type Standing } from './standing.ts';

/** The roles of pgacme, none of which can log in: logins are made members of them. Each with its comment. */
const ROLES = {
  acme_owner: 'pgacme: owns the schemas acme and acme_private. For migrations.',
  acme_worker: 'pgacme: runs the step functions and uses the queue. For the logins of workers.',
  acme_app:
    'pgacme: inserts certificate requests and reads what became of them, of its own tenant.',
  acme_multi_tenant:
    'pgacme: an application whose setting acme.tenant says which tenant it acts for.',
  acme_reader: "pgacme: reads every tenant's requests and certificates. For monitoring.",
  acme_responder: 'pgacme: reads published challenges, nothing else. For web servers.',
  acme_admin: 'pgacme: writes servers, accounts and solvers, and acts for every tenant.',
} as const;

export const roles = Object.keys(ROLES) as (keyof typeof ROLES)[];

/**
 * What must be run before the files of sql/: roles, memberships, schemas, as far as they are missing.
 * Whoever may runs it: `pgacme migrate` itself, or a DBA for a login that may make neither. Nothing
 * lends CREATE on the database: a schema is made for its owner.
 */
export function preparation(standing: Standing): string[] {
  // PostgreSQL 16 gives the maker of a role only ADMIN, and may have been told not to inherit.
  const how = standing.serverVersion >= 160000 ? ' with inherit true, set true' : '';
  return [
    ...roles
      .filter((role) => !standing.roles.includes(role))
      .flatMap((role) => [
        `create role ${role} nologin;`,
        `comment on role ${role} is '${ROLES[role].replaceAll("'", "''")}';`,
      ]),
    ...standing.missingMemberships.map(
      ({ role, member }) => `grant ${role} to ${member ?? standing.login}${how};`,
    ),
    // A key roll-over waits for standbys; elsewhere a DBA grants it where there are some (docs/accounts.md).
    ...(standing.isStatsGrantDue ? ['grant pg_read_all_stats to acme_owner;'] : []),
    ...standing.missingSchemas.map(
      ({ schema, owner }) => `create schema ${plain(schema)} authorization ${owner};`,
    ),
  ];
}

/**
 * Runs the preparation.
 *
 * @throws PgacmeError ERR_ROLES with all statements for a DBA, when this login may not run one.
 */
export async function prepare(
  tx: postgres.TransactionSql,
  options: { workerSchema?: string | undefined },
): Promise<Standing> {
  let standing = await readStanding(tx, options);
  const statements = preparation(standing);
  // Once this login is a member of acme_owner, it may turn out that the queue's schema is missing.
  for (let round = 0; round < 2; round++) {
    const due = preparation(standing);
    if (due.length === 0) break;
    try {
      for (const statement of due) await tx.unsafe(tolerant(statement));
    } catch (error) {
      if (!isDenied(error)) throw error;
      throw mayNot(round === 0 ? statements : [...statements, ...due], { cause: error });
    }
    standing = await readStanding(tx, options);
  }
  return standing;
}

/** The error of a login that may not prepare the database: what a DBA is to run for it. */
export function mayNot(statements: readonly string[], options?: ErrorOptions): PgacmeError {
  return new PgacmeError(
    'ERR_ROLES',
    'This login may not make the roles and schemas of pgacme, or not act as their owner. ' +
      `Have a superuser run: ${statements.join(' ')} then migrate again.`,
    options,
  );
}

/** Roles belong to the cluster: another database may make the same ones, or grant the same, at this moment. */
function tolerant(statement: string): string {
  return `
    do $pgacme$ begin
      ${statement}
    exception when duplicate_object or unique_violation or internal_error then
      null;
    end $pgacme$`;
}

/** A name of our own needs no quotes; another one may be a key word. */
function plain(schema: string): string {
  return schema.startsWith('acme') ? schema : `"${schema}"`;
}

/** insufficient_privilege */
function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '42501';
}
