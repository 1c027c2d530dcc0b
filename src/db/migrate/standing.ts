import type postgres from 'postgres';
import { PgacmeError } from '../../errors.ts';

/** What a migrate finds: who asks, and what of roles and schemas is there. It is read without changing anything. */
export interface Standing {
  /** This login, quoted. */
  login: string;
  serverVersion: number;
  /** Those of all roles of the cluster whose names begin with acme_. */
  roles: string[];
  /** member null: this login. */
  missingMemberships: { role: string; member: string | null }[];
  missingSchemas: { schema: string; owner: string }[];
  /** Whether pgacme's tables are there. */
  isInstalled: boolean;
  /** Whether this login can let acme_owner see how far standbys are, which it does not yet. */
  isStatsGrantDue: boolean;
  /** Whether this login may act as acme_owner and as acme_worker. */
  mayAct: boolean;
  /** The schema of the queue: as installed, else as asked for. */
  workerSchema: string;
}

const MEMBERSHIPS = [
  { role: 'acme_worker', member: 'acme_owner' },
  { role: 'acme_app', member: 'acme_multi_tenant' },
  { role: 'acme_app', member: 'acme_admin' },
  { role: 'acme_multi_tenant', member: 'acme_admin' },
  { role: 'acme_owner', member: null },
  { role: 'acme_worker', member: null },
] as const;

/**
 * Reads it from the catalogs, which everyone may read.
 *
 * @throws PgacmeError ERR_ENCODING for a database that is not UTF8; ERR_CONFIG for a queue schema that is no plain name; ERR_ROLES where a schema of
 *   that name belongs to someone else.
 */
export async function readStanding(
  tx: postgres.TransactionSql,
  options: { workerSchema?: string | undefined },
): Promise<Standing> {
  await checkEncoding(tx);
  const [who] = await tx<
    [{ login: string; serverVersion: number; isInstalled: boolean; isStatsGrantDue: boolean }]
  >`
    select quote_ident(current_user) as login,
           current_setting('server_version_num')::int as "serverVersion",
           (select r.rolsuper from pg_roles r where r.rolname = current_user)
             and not exists (select from pg_roles r
                              where r.rolname = 'acme_owner' and pg_has_role(r.oid, 'pg_read_all_stats', 'usage')) as "isStatsGrantDue",
           exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = 'acme_private' and c.relname = 'migration') as "isInstalled"`;
  const found = await tx<{ rolname: string }[]>`
    select rolname
      from pg_roles
     where rolname like 'acme\_%'`;
  const present = found.map(({ rolname }) => rolname);
  const missingMemberships: Standing['missingMemberships'] = [];
  for (const { role, member } of MEMBERSHIPS) {
    const areThere = present.includes(role) && (member === null || present.includes(member));
    if (!areThere || !(await isMember(tx, role, member, who.serverVersion))) {
      missingMemberships.push({ role, member });
    }
  }
  const mayAct = !missingMemberships.some(({ member }) => member === null);
  const recorded = who.isInstalled && mayAct ? await recordedSchema(tx) : undefined;
  const workerSchema = recorded ?? options.workerSchema ?? 'acme_worker';
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(workerSchema)) {
    throw new PgacmeError(
      'ERR_CONFIG',
      `PGACME_WORKER_SCHEMA is ${JSON.stringify(workerSchema)}; it must be a plain lower-case name.`,
    );
  }
  const isQueueKnown = !who.isInstalled || mayAct;
  const schemas = [
    { schema: 'acme', owner: 'acme_owner' },
    { schema: 'acme_private', owner: 'acme_owner' },
    ...(isQueueKnown ? [{ schema: workerSchema, owner: 'acme_owner' }] : []),
  ];
  return {
    ...who,
    roles: present,
    missingMemberships,
    missingSchemas: await missing(tx, schemas, recorded === undefined),
    mayAct,
    workerSchema,
  };
}

/** What a session cannot set for itself: names, and the words of a CA, are text of any language. */
async function checkEncoding(tx: postgres.TransactionSql): Promise<void> {
  const [is] = await tx<[{ encoding: string; database: string }]>`
    select current_setting('server_encoding') as encoding, quote_ident(current_database()) as database`;
  if (is.encoding === 'UTF8') return;
  throw new PgacmeError('ERR_ENCODING', encodingSentence(is.database, is.encoding));
}

/** What is wrong with a database of another encoding than UTF8. */
export function encodingSentence(database: string, encoding: string): string {
  return `The database ${database} has the encoding ${encoding}, and pgacme needs UTF8: text of CAs and of requests could not be stored. An encoding cannot be changed; make another database, such as: create database pgacme encoding 'UTF8' template template0;`;
}

/** A login has to act as a role (SET); a role has to have what the other has (inherit), and act as it. */
async function isMember(
  tx: postgres.TransactionSql,
  role: string,
  member: string | null,
  serverVersion: number,
): Promise<boolean> {
  const act = serverVersion >= 160000 ? 'set' : 'member';
  const [is] = await tx<[{ acts: boolean; inherits: boolean }]>`
    select pg_has_role(coalesce(${member}::name, current_user), ${role}::name, ${act}) as acts,
           pg_has_role(coalesce(${member}::name, current_user), ${role}::name, 'usage') as inherits`;
  return is.acts && (member === null || is.inherits);
}

/** undefined: the first migrate ended before it was recorded, which one transaction rules out. */
async function recordedSchema(tx: postgres.TransactionSql): Promise<string | undefined> {
  await tx`set local role acme_owner`;
  const [row] = await tx<{ worker_schema: string }[]>`
    select worker_schema
      from acme_private.installation`;
  await tx`reset role`;
  return row?.worker_schema;
}

async function missing(
  tx: postgres.TransactionSql,
  wanted: readonly { schema: string; owner: string }[],
  isFirst: boolean,
): Promise<{ schema: string; owner: string }[]> {
  const rows = await tx<{ schema: string; owner: string }[]>`
    select nspname as schema, nspowner::regrole::text as owner
      from pg_namespace
     where nspname in ${tx(wanted.map(({ schema }) => schema))}`;
  for (const { schema, owner } of wanted) {
    const there = rows.find((row) => row.schema === schema);
    // Whose objects a stranger's schema holds is not known; taking it over is a person's decision.
    if (!isFirst || there === undefined || there.owner === owner) continue;
    throw new PgacmeError(
      'ERR_ROLES',
      `There is a schema ${schema} that belongs to ${there.owner}. If it was made for pgacme, have a superuser run: alter schema ${schema} owner to ${owner}; then migrate again. Otherwise pgacme needs another database.`,
    );
  }
  return wanted.filter(({ schema }) => !rows.some((row) => row.schema === schema));
}
