import postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import type { FreshDatabase } from '../helpers/postgres.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  add,
  ago,
  ahead,
  all,
  authorizationOf,
  putInState,
  registerDefaultAccount,
  set,
  sha256,
  withoutTriggers,
} from '../helpers/state/index.ts';

// What a tenant's login can learn of the names of others, beside rows that row-level security shows.

let database: FreshDatabase;
let sql: postgres.Sql;
/** A login of another tenant than that of the rows below. */
let other: { url: string; role: string };

beforeAll(async () => {
  const shop = await openShop();
  ({ database, sql } = shop);
  await registerDefaultAccount(sql);
  await makeRows(shop);
  other = await database.login('acme_app', { login: 'other' });
});

/** One tenant's rows in everything that applications read, one of each also of what is stuck or needs attention. */
async function makeRows(shop: Shop): Promise<void> {
  const { app } = shop;
  const insert = (columns: Record<string, string>) => shop.insert(columns);
  const [issued, ordering, revoked, asked] = [
    await insert({ ref: 'victim-1' }),
    await insert({ ref: 'victim-2', profile: 'victim-profile', preferred_chain: 'victim-chain' }),
    await insert({ ref: 'victim-3' }),
    await insert({ ref: 'victim-4' }),
  ];
  await insert({ ref: 'victim-5' });
  await insert({ ref: 'victim-6', account: 'main', solver: 'http-01' });
  await putInState(sql, [issued, revoked], 'issued');
  await putInState(sql, [ordering], 'ordering');
  await putInState(sql, [asked], 'retrying');
  const [{ id: authorization }] = await app<[{ id: string }]>`
    select acme.preauthorize('victim-proved.example.org') as id`;
  const certificates = await sql<{ id: string; tenant: string }[]>`
    select id, tenant from acme.certificate order by id`;
  for (const { id, tenant } of certificates) {
    await set(sql, 'certificate', id, {
      serial: `victim-serial-${id}`,
      fingerprint_sha256: sha256(`victim${id}`),
      subject: 'CN=victim',
      planned_renewal_at: ago('1 month'),
      issuer: `CN=victim-ca-${id}`,
      not_after: ahead(`${id} minutes`),
    });
    await add(sql, 'certificate_name', {
      name: `victim-${id}.example.org`,
      certificate_id: id,
      tenant,
    });
  }
  await app`select acme.revoke_certificate(${certificates[1]?.id ?? ''}, 'superseded')`;
  await app`select acme.deactivate_authorization(${authorization})`;
  await app`select acme.retry(${asked})`;
  await withoutTriggers(sql, async (tx) => {
    const [order = ''] = await set(tx, 'order', all, {
      state: 'authorizing',
      url: 'https://ca.example.org/order/victim',
      created_at: ago('1 hour'),
      finalize_url: 'https://ca.example.org/finalize/victim',
      reason: 'victim.example.org waits',
    });
    const waiting = await authorizationOf(tx, [order], {
      url: 'https://ca.example.org/authz/victim',
      identifier: 'victim.example.org',
      updated_at: ago('1 hour'),
    });
    const [{ tenant }] = await tx<[{ tenant: string }]>`
      select tenant from acme."order" where id = ${order}`;
    const challenge = await add(tx, 'challenge', {
      authorization_id: waiting,
      tenant,
      url: 'https://ca.example.org/chall/victim',
      type: 'http-01',
      token: 'victim-token',
      key_authorization: 'victim-token.key',
    });
    for (const state of ['intended', 'published', 'removing']) {
      await add(tx, 'record', {
        challenge_id: challenge,
        tenant,
        solver: 'by-hand',
        method: 'manual',
        type: 'http-01',
        identifier: 'victim.example.org',
        token: `victim-token${state}`,
        value: 'victim-token.key',
        state,
        updated_at: ago('2 days'),
      });
    }
    await set(tx, 'request', all, { created_at: ago('1 hour') });
    await tx`update acme.revocation_request set created_at = now() - interval '1 hour'`;
    await tx`update acme.deactivation_request set created_at = now() - interval '1 hour'`;
    await set(
      tx,
      'csr',
      { state: 'retrying' },
      {
        next_attempt_at: ago('1 hour'),
        reason_code: 'validation_failed',
        reason: 'victim.example.org failed',
      },
    );
  });
  await sql`select acme_private.note('victim-event', tenant, csr_id) from acme_private.csr_state`;
  // An account of the tenant's domain.
  await sql`insert into acme.account (name, server) values ('victim.example', 'ca')`;
  await sql`insert into acme.account_domain (server, domain, account) values ('ca', 'victim.example', 'victim.example')`;
}

interface Column {
  relation: string;
  column: string;
  type: string;
}

/** What applications may select in schema acme. */
const readable = () => sql<Column[]>`
  select c.oid::regclass::text as relation, quote_ident(a.attname) as column, a.atttypid::regtype::text as type
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   where c.relnamespace = 'acme'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
     and has_column_privilege('acme_app', c.oid, a.attnum, 'select')
   order by 1, a.attnum`;

async function asOther<T>(run: (on: postgres.Sql, notices: string[]) => Promise<T>): Promise<T> {
  const notices: string[] = [];
  const on = postgres(other.url, {
    max: 1,
    onnotice: ({ message }) => notices.push(message ?? ''),
  });
  try {
    return await run(on, notices);
  } finally {
    await on.end();
  }
}

/** Indexes that break the rule below, and why that tells nothing. */
const exceptions: Record<string, string> = {
  closure_until_idx:
    'read only inside csr_status, for the server and account of a csr of the reader',
  closure_scope_value_key: 'the same',
};

interface Index {
  name: string;
  /** Its keys: a column, or an expression. */
  keys: string[];
  /** Columns in keys, plain ones and those in expressions. */
  names: { key: number; name: string; type: string; selectable: boolean }[];
  predicate: { name: string; type: string; selectable: boolean }[];
}

/** The indexes of tables with row-level security of which acme_app may select a column. */
const indexes = () => sql<Index[]>`
  with columns as (
    select a.attrelid, a.attnum, a.attname::text as name, a.atttypid::regtype::text as type,
           has_column_privilege('acme_app', a.attrelid, a.attnum, 'select') as selectable
      from pg_attribute a
     where a.attnum > 0 and not a.attisdropped
  )
  select i.indexrelid::regclass::text as name,
         array(select pg_get_indexdef(i.indexrelid, k, true) from generate_series(1, i.indnkeyatts::int) k) as keys,
         (select coalesce(jsonb_agg(jsonb_build_object('key', k, 'name', c.name, 'type', c.type, 'selectable', c.selectable)), '[]')
            from generate_series(1, i.indnkeyatts::int) k
            join columns c on c.attrelid = i.indrelid
                          and case when i.indkey[k - 1] > 0 then c.attnum = i.indkey[k - 1]
                                   else pg_get_indexdef(i.indexrelid, k, true) ~ ('\\m' || c.name || '\\M') end) as names,
         (select coalesce(jsonb_agg(jsonb_build_object('name', c.name, 'type', c.type, 'selectable', c.selectable)), '[]')
            from columns c
           where c.attrelid = i.indrelid and pg_get_expr(i.indpred, i.indrelid) ~ ('\\m' || c.name || '\\M')) as predicate
    from pg_index i
    join pg_class t on t.oid = i.indrelid
   where t.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
     and t.relrowsecurity
     and exists (select from columns c where c.attrelid = t.oid and c.selectable)
   order by 1`;

/** Sequence numbers are no secret (docs/security.md). */
const isNumber = ({ type }: { type: string }) => ['bigint', 'xid8'].includes(type);

/**
 * Why EXPLAIN (ANALYZE) of a query of a tenant can tell by this index what others have; null: it cannot. A query
 * uses an index by what it compares; what is found and is another tenant's is counted as "Rows Removed by Filter",
 * but for an index that has the tenant among its keys. Where a text comes before it, even the number of pages tells.
 */
function fault({ keys, names, predicate }: Index): string | null {
  // Nobody can compare what they may not select, so that the index is of no use to them.
  if (predicate.some((column) => !column.selectable)) return null;
  const told = [...names, ...predicate].filter((c) => c.selectable && !isNumber(c));
  if (told.length === 0 || keys[0] === 'tenant') return null;
  // A function that may leak is called for rows of one's own only, and so finds nothing by index.
  const secret = names.filter((c) => !isNumber(c) && !/^reverse\(/.test(keys[c.key - 1] ?? ''));
  if (secret.length === 0 && predicate.length === 0) return null;
  if (!keys.includes('tenant')) return `compares ${told.map(({ name }) => name).join(', ')}`;
  const before = secret.find(
    ({ key, type }) => key <= keys.indexOf('tenant') && ['text', 'bytea'].includes(type),
  );
  return before === undefined ? null : `has ${before.name} before the tenant`;
}

describe('the catalogue', () => {
  test('has no index by which a query of a tenant finds rows of others', async () => {
    const all = await indexes();
    expect(all.length).toBeGreaterThan(30);
    const faults = all.flatMap((index) => {
      const name = index.name.replace(/^.*\./, '');
      const found = fault(index);
      return found === null || name in exceptions ? [] : [`${name}: ${found}`];
    });
    expect(faults).toEqual([]);
    const [{ leakproof }] = await sql<[{ leakproof: boolean }]>`
      select proleakproof as leakproof from pg_proc where oid = 'reverse(text)'::regprocedure`;
    expect(leakproof).toBe(false);
  });
});

test('PostgreSQL keeps no samples of what has names', async () => {
  /** Of these one of few values is known anyway; the tenant's name is in docs/security.md. */
  const known = [
    'tenant',
    'state',
    'event',
    'type',
    'method',
    'solver',
    'renewal',
    'reason_code',
    'renewal_reason',
    'revocation_reason',
    'scope',
  ];
  const sampled = await sql<{ name: string }[]>`
    select format('%s.%s', t.oid::regclass, a.attname) as name
      from pg_class t
      join pg_class c on c.oid = t.oid or c.oid in (select indexrelid from pg_index where indrelid = t.oid and 0 = any (indkey))
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where t.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace) and t.relrowsecurity
       and a.atttypid in ('text'::regtype, 'bytea'::regtype, 'jsonb'::regtype)
       and coalesce(a.attstattarget, -1) <> 0
       and case when c.oid <> t.oid then a.attname ~ '^(reverse|coalesce)' else has_column_privilege('acme_app', t.oid, a.attnum, 'select') end
       and a.attname <> all (${known})
     order by 1`;
  expect(sampled.map(({ name }) => name)).toEqual([]);
});

test('there is something of another tenant in each view that has rows of tenants', async () => {
  const relations = [...new Set((await readable()).map(({ relation }) => relation))];
  const empty = [];
  for (const relation of relations) {
    const rows = await sql.unsafe(`select from ${relation} limit 1`);
    if (rows.length === 0) empty.push(relation);
  }
  expect(empty).toEqual([]);
});

test('a function of a tenant is called for no row of others, in whatever view', async () => {
  const columns = await readable();
  await asOther(async (on, notices) => {
    await on.unsafe(`
      create function pg_temp.spy(value anyelement) returns boolean language plpgsql cost 0.0000001
      as $$ begin raise notice 'spied %', value; return true; end $$`);
    const leaks: string[] = [];
    for (const { relation, column } of columns) {
      const shown = await on.unsafe<{ value: string }[]>(
        `select distinct format('spied %s', ${column}) as value from ${relation}`,
      );
      for (const settings of ['', 'set enable_seqscan = off; set enable_nestloop = off']) {
        await on.unsafe(`reset all; ${settings}`);
        notices.length = 0;
        await on.unsafe(`select from ${relation} where pg_temp.spy(${column})`);
        const seen = new Set(['spied <NULL>', ...shown.map(({ value }) => value)]);
        leaks.push(
          ...notices.flatMap((text) =>
            seen.has(text) ? [] : [`${relation}.${column}: ${text.slice(0, 60)}`],
          ),
        );
      }
    }
    expect([...new Set(leaks)]).toEqual([]);
  });
});

describe('EXPLAIN (ANALYZE)', () => {
  /** How the values of a type are changed into ones that nobody has. Sequence numbers are no secret. */
  const changed: Record<string, string> = {
    text: `value || '-nobody'`,
    bytea: 'sha256(value)',
    'timestamp with time zone': `value + interval '1.234567 s'`,
  };

  test('tells of a value that another tenant has the same as of one that nobody has', async () => {
    const columns = (await readable()).filter(
      ({ column, type }) =>
        type in changed &&
        // For a state with statistics the planner takes another index, independent of the tenant.
        !['state', 'action'].includes(column),
    );
    await asOther(async (on) => {
      const differences: string[] = [];
      let compared = 0;
      for (const { relation, column, type } of columns) {
        const values = await sql.unsafe<{ theirs: string; nobodys: string }[]>(`
          select format('%L::${type}', value) as theirs, format('%L::${type}', ${changed[type] ?? ''}) as nobodys
            from (select distinct ${column} as value from ${relation} where ${column} is not null limit 4) v`);
        const shown = await on.unsafe<{ value: string }[]>(
          `select distinct format('%L::${type}', ${column}) as value from ${relation}`,
        );
        const plan = async (value: string) => {
          const [row] = await on.unsafe<{ 'QUERY PLAN': unknown }[]>(`
            explain (analyze, costs off, timing off, summary off, buffers off, format json)
            select from ${relation} where ${column} = ${value}`);
          return JSON.stringify(row?.['QUERY PLAN']).replace(/'(?:[^']|'')*'/g, "'…'");
        };
        for (const { theirs, nobodys } of values) {
          if (shown.some(({ value }) => value === theirs)) continue;
          for (const settings of [
            '',
            'set enable_seqscan = off',
            'set enable_seqscan = off; set enable_bitmapscan = off',
          ]) {
            await on.unsafe(`reset all; set datestyle = iso; ${settings}`);
            compared++;
            const plans = [await plan(theirs), await plan(nobodys)];
            if (plans[0] !== plans[1]) differences.push(`${relation}.${column} = ${theirs}`);
          }
        }
      }
      expect(compared).toBeGreaterThan(200);
      expect([...new Set(differences)]).toEqual([]);
    });
  });
});
