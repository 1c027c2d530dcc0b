import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { openShop, type Shop } from '../helpers/shop.ts';

let shop: Shop;
let relations: { name: string; columns: string }[];

const MODES = [
  'access share',
  'row share',
  'row exclusive',
  'share update exclusive',
  'share',
  'share row exclusive',
  'exclusive',
  'access exclusive',
];

/** Logins of these roles are strangers to one another; `public` is one of no role of pgacme. */
const ROLES = ['acme_app', 'acme_multi_tenant', 'acme_reader', 'acme_responder', 'public'];

beforeAll(async () => {
  shop = await openShop();
  relations = await shop.sql<{ name: string; columns: string }[]>`
    select c.oid::regclass::text as name, string_agg(quote_ident(a.attname), ', ') as columns
      from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace::regnamespace::text in ('acme', 'acme_private', 'acme_worker')
       and c.relkind in ('r', 'p', 'v', 'm', 'f')
     group by c.oid
     order by c.oid::regclass::text collate "C"`;
  expect(relations.length).toBeGreaterThan(50);
});

const loginOf = (role: string): Promise<postgres.Sql> =>
  role === 'public'
    ? shop.database.as('pg_monitor', { login: 'public' })
    : shop.database.as(role, { login: `lock_${role}` });

/** Which of these statements are let through. Anything but a want of rights is an error of the test. */
async function letThrough(sql: postgres.Sql, statements: string[]): Promise<string[]> {
  const undo = new Error('undo');
  let through: string[] = [];
  await sql
    .begin(async (tx) => {
      // (feature_not_supported: rows of a view with a join or an aggregate cannot be locked.)
      await tx`
        create function pg_temp.let_through(statements text[]) returns setof text language plpgsql as $$
        declare
          v_statement text;
        begin
          foreach v_statement in array statements loop
            begin
              execute v_statement;
              return next v_statement;
            exception when insufficient_privilege or feature_not_supported then
              null;
            end;
          end loop;
        end
        $$`;
      const rows = await tx<{ statement: string }[]>`
        select statement from pg_temp.let_through(${statements}) statement`;
      through = rows.map(({ statement }) => statement);
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  return through;
}

describe.each(ROLES)('a login of %s', (role) => {
  test('locks no table of pgacme, by itself or through a view', async () => {
    const sql = await loginOf(role);
    const through = await letThrough(
      sql,
      relations.flatMap(({ name }) =>
        MODES.map((mode) => `lock table ${name} in ${mode} mode nowait`),
      ),
    );
    // What every query that reads it takes.
    expect(through.filter((statement) => !statement.includes('in access share mode'))).toEqual([]);
  });

  test('locks rows of its own csrs and records only', async () => {
    const sql = await loginOf(role);
    const strengths = ['update', 'no key update', 'share', 'key share'];
    const through = await letThrough(
      sql,
      relations.flatMap(({ name }) => strengths.map((how) => `select 1 from ${name} for ${how}`)),
    );
    const isApplication = ['acme_app', 'acme_multi_tenant'].includes(role);
    expect([...new Set(through.map((statement) => statement.split(' ')[3]))]).toEqual(
      isApplication ? ['acme.csr', 'acme.record'] : [],
    );
  });

  test('holds no right from which PostgreSQL of any version draws a lock on a whole table', async () => {
    // On the table, not on columns: what LOCK asks for in 15 and 16, and what a foreign key, a trigger and 17 ask for.
    const held = await shop.sql`
      select c.oid::regclass::text as name, x.privilege_type
        from pg_class c
       cross join aclexplode(c.relacl) x
       where c.relnamespace::regnamespace::text in ('acme', 'acme_private')
         and c.relkind in ('r', 'p', 'v', 'm', 'f')
         and (x.grantee = 0 or case when ${role} <> 'public' then pg_has_role(${role === 'public' ? 'acme_app' : role}::name, x.grantee, 'usage') end)
         and x.privilege_type not in ('SELECT', 'INSERT')`;
    expect(held).toEqual([]);
  });
});

// PostgreSQL locks each table that has a policy for the role before it finds that the caller may not change it. What
// ends the statement, and with it the locks, is a table of which the role has rights on columns only.
test.each(ROLES.filter((role) => role !== 'public'))(
  'a login of %s takes no grant away, and holds no table, by "drop owned"',
  async (role) => {
    const sql = await loginOf(role);
    const grants = () => shop.sql`
      select c.oid, c.relacl::text, a.attname, a.attacl::text
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid
       where c.relnamespace::regnamespace::text in ('acme', 'acme_private')
       order by c.oid, a.attnum`;
    const before = await grants();
    await sql.begin(async (tx) => {
      await tx.savepoint((part) => part.unsafe(`drop owned by ${role}`)).catch(() => undefined);
      const [{ pid }] = await tx<[{ pid: number }]>`select pg_backend_pid() as pid`;
      const held = await shop.sql`
        select l.relation::regclass::text as name, l.mode
          from pg_locks l
          join pg_class c on c.oid = l.relation
         where l.pid = ${pid} and l.mode <> 'AccessShareLock'
           and c.relnamespace::regnamespace::text in ('acme', 'acme_private', 'acme_worker')`;
      expect(held).toEqual([]);
    });
    expect(await grants()).toEqual(before);
  },
);

test("a tenant's lock on a row of its own holds up no other tenant", async () => {
  const csr = await shop.insert();
  const other = await shop.database.as('acme_app', { login: 'other' });
  await shop.app.begin(async (tx) => {
    await tx`select from acme.csr where id = ${csr} for update`;
    await tx`select from acme.record for update`;
    await other.begin(async (their) => {
      await their`set local lock_timeout = '1s'`;

      await their`insert into acme.csr (pem, account) values (${pemShapedLikeCsr()}, 'main')`;
      expect(await their`select from acme.csr for update`).toHaveLength(1);
    });
  });
});
