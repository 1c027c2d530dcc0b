import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';

let shop: Shop;
let sql: postgres.Sql;
/** The tenant whose csrs are at stake, and another one with a schema of its own. */
let a: postgres.Sql;
let b: postgres.Sql;

beforeAll(async () => {
  shop = await openShop();
  ({ sql } = shop);
  a = shop.app;
  const { role: roleA } = await shop.database.login('acme_app');
  const { role: roleB } = await shop.database.login('acme_app', { login: 'b' });
  b = await shop.database.as('acme_app', { login: 'b' });
  await sql`create schema ta authorization ${sql(roleA)}`;
  await sql`create schema tb authorization ${sql(roleB)}`;
});

const isCancelled = async (csr: string) => {
  const [row] = await sql<{ is: boolean }[]>`
    select cancel_request is not null as is from acme.csr where id = ${csr}`;
  return row?.is;
};

describe('a foreign key to a table of pgacme', () => {
  test('is denied to everybody but the owner', async () => {
    const tables = await sql<{ name: string }[]>`
      select indrelid::regclass::text as name
        from pg_index
       where indisprimary
         and (select relnamespace::regnamespace::text from pg_class where oid = indrelid) in ('acme', 'acme_private')`;
    expect(tables.map(({ name }) => name)).toContain('acme.csr');
    for (const role of ['acme_app', 'acme_reader', 'acme_admin', 'acme_worker']) {
      const { role: name } = await shop.database.login(role, { login: `fk_${role}` });
      const login = await shop.database.as(role, { login: `fk_${role}` });
      await sql`create schema ${sql(`fk_${role}`)} authorization ${sql(name)}`;
      for (const table of tables) {
        const error = await refusal(
          login.unsafe(`create table fk_${role}.fk (id bigint references ${table.name})`),
        );
        expect(error.code, `${role}: ${table.name}`).toBe('42501');
      }
    }
  });

  test('needs a right that nobody has been granted, on no table and no column', async () => {
    const held = await sql`
      select c.oid::regclass::text as name, x.grantee::regrole::text as role, x.privilege_type
        from pg_class c
       cross join lateral (
         select * from aclexplode(c.relacl)
          union all
         select t.* from pg_attribute a cross join aclexplode(a.attacl) t where a.attrelid = c.oid
       ) x
       where c.relnamespace::regnamespace::text in ('acme', 'acme_private', 'acme_worker')
         and x.grantee <> c.relowner and x.privilege_type in ('REFERENCES', 'TRIGGER')`;
    expect(held).toEqual([]);
  });

  test('that was made before lets no code of its owner run when csrs are deleted', async () => {
    const csr = await shop.insert();
    await b`create table tb.fk (id bigint)`;
    await b`insert into tb.fk values (${csr})`;
    await b`create table tb.ran (who text)`;
    await b.unsafe(`
      create function tb.note() returns trigger language plpgsql
      as $$ begin insert into tb.ran values (current_user); return null; end $$`);
    await b`create trigger note after delete on tb.fk for each row execute function tb.note()`;
    await sql`alter table tb.fk add constraint to_csr foreign key (id) references acme.csr on delete cascade`;
    expect(await refusal(sql`select acme.delete_csrs(array[${csr}]::bigint[])`)).toMatchObject({
      code: '55000',
      message:
        'Nothing is deleted: there is a foreign key to acme.csr, of tb.fk. It would run code of its owner here.',
    });
    expect(await sql`select from acme.csr where id = ${csr}`).toHaveLength(1);
    await sql`alter table tb.fk drop constraint to_csr`;
    expect(await sql`select acme.delete_csrs(array[${csr}]::bigint[]) as count`).toEqual([
      { count: '1' },
    ]);
    expect(await b`select from tb.ran`).toHaveLength(0);
    expect(await b`select from tb.fk`).toHaveLength(1);
  });
});

describe('acme.delete_csrs', () => {
  test('deletes what belongs to the csrs, and runs as their owner, whatever the path of the caller', async () => {
    const csrs = [await shop.insert(), await shop.insert()];
    const kept = await shop.insert();
    await b.unsafe(`
      create function tb.never(bigint, bigint) returns boolean language sql as 'select true';
      create operator tb.= (leftarg = bigint, rightarg = bigint, function = tb.never)`);
    const [row] = await sql.begin(async (tx) => {
      await tx`set local search_path = tb, pg_catalog`;
      return tx<{ count: string }[]>`
        select acme.delete_csrs(array[${csrs[0] ?? ''}, ${csrs[1] ?? ''}, 987654321]::bigint[]) as count`;
    });
    expect(row?.count).toBe('2');
    expect(
      await sql`select csr_id from acme_private.csr_state where csr_id = any (${[...csrs, kept]}::bigint[])`,
    ).toEqual([{ csr_id: kept }]);
  });

  test('is for nobody else', async () => {
    const csr = await shop.insert();
    for (const role of [
      'acme_app',
      'acme_multi_tenant',
      'acme_reader',
      'acme_responder',
      'acme_admin',
      'acme_worker',
    ]) {
      const login = await shop.database.as(role, { login: `delete_${role}` });
      expect(
        await refusal(login`select acme.delete_csrs(array[${csr}]::bigint[])`),
        role,
      ).toMatchObject({
        code: '42501',
      });
    }
    const owner = await shop.database.as('acme_owner');
    expect(await owner`select acme.delete_csrs(array[${csr}]::bigint[]) as count`).toEqual([
      { count: '1' },
    ]);
  });
});

describe('acme.cancel_when_deleted', () => {
  beforeAll(async () => {
    await a`create table ta.domain (name text primary key, csr_id bigint, "Odd ""Id" text)`;
    await a`create trigger cancel_csr after delete on ta.domain for each row execute function acme.cancel_when_deleted('csr_id')`;
  });

  const insertRow = (name: string, csr: string | null) =>
    a`insert into ta.domain (name, csr_id) values (${name}, ${csr})`;

  test('cancels the csr of a row that is deleted, with the same transaction', async () => {
    const csr = await shop.insert();
    await insertRow('mine', csr);
    const undo = new Error('undo');
    await a
      .begin(async (tx) => {
        await tx`delete from ta.domain where name = 'mine'`;
        throw undo;
      })
      .catch((error: unknown) => expect(error).toBe(undo));
    expect(await isCancelled(csr)).toBe(false);
    await shop.clearJobs();
    await a`delete from ta.domain where name = 'mine'`;
    expect(await isCancelled(csr)).toBe(true);
    expect(await shop.jobs()).toMatchObject([{ task: 'attend' }]);
    await shop.attend(csr);
    expect(await shop.status(csr)).toMatchObject({ state: 'cancelled' });
  });

  test('finds the csr of each of many rows, and leaves those of others', async () => {
    const csrs = await Promise.all(Array.from({ length: 4 }, () => shop.insert()));
    for (const csr of csrs) await insertRow(`many-${csr}`, csr);
    await a`delete from ta.domain where name like 'many-%' and csr_id <> ${csrs[3] ?? ''}`;
    expect(await Promise.all(csrs.map(isCancelled))).toEqual([true, true, true, false]);
    await a`delete from ta.domain where name like 'many-%'`;
    expect(await isCancelled(csrs[3] ?? '')).toBe(true);
  });

  test('never stands in the way: null, unknown, cancelled already, or of another tenant', async () => {
    const [foreign] = await b<[{ id: string }]>`
      insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning id`;
    const ended = await shop.insert();
    await a`select acme.cancel(${ended})`;
    const [before] = await sql<
      [{ version: string }]
    >`select version from acme.csr where id = ${ended}`;
    for (const csr of [null, '987654321', '-5', '9223372036854775807', foreign.id, ended]) {
      await insertRow('any', csr);
      expect((await a`delete from ta.domain where name = 'any'`).count, String(csr)).toBe(1);
    }
    expect(await isCancelled(foreign.id)).toBe(false);
    const [after] = await sql<
      [{ version: string }]
    >`select version from acme.csr where id = ${ended}`;
    expect(after).toEqual(before);
  });

  test("a DBA's session cancels no csr of a tenant that it does not act for, and says so", async () => {
    const [foreign] = await b<[{ id: string }]>`
      insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning id`;
    const own = await shop.insert();
    await insertRow('forged', foreign.id);
    await insertRow('right', own);
    const { role } = await shop.database.login('acme_app');
    await sql.begin(async (tx) => {
      await tx`select set_config('acme.tenant', ${role}, true)`;
      await tx`delete from ta.domain where name in ('forged', 'right')`;
    });
    expect(await isCancelled(foreign.id)).toBe(false);
    expect(await isCancelled(own)).toBe(true);
  });

  test("runs no operator of the session's search_path", async () => {
    const csr = await shop.insert();
    const other = await shop.insert();
    await insertRow('path', csr);
    await a.unsafe(`
      create function ta.always(bigint, bigint) returns boolean language sql as 'select true';
      create operator ta.= (leftarg = bigint, rightarg = bigint, function = ta.always)`);
    await a.begin(async (tx) => {
      await tx`set local search_path = ta, pg_catalog`;
      await tx`delete from ta.domain where name = 'path'`;
    });
    expect([await isCancelled(csr), await isCancelled(other)]).toEqual([true, false]);
  });

  test('takes a column of another type and an odd name, and no other use', async () => {
    const csr = await shop.insert();
    await a`create table ta.odd (id text, "Odd ""Id" text)`;
    await a`create trigger cancel_csr after delete on ta.odd for each row execute function acme.cancel_when_deleted('Odd "Id')`;
    await a`insert into ta.odd values ('one', ${csr}), ('two', 'no number')`;
    await a`delete from ta.odd`;
    expect(await isCancelled(csr)).toBe(true);

    await a`create table ta.wrong (id bigint)`;
    await a`insert into ta.wrong values (1)`;
    for (const use of [
      `before delete on ta.wrong for each row execute function acme.cancel_when_deleted('id')`,
      `after delete on ta.wrong for each statement execute function acme.cancel_when_deleted('id')`,
      `after delete on ta.wrong for each row execute function acme.cancel_when_deleted()`,
    ]) {
      await a.unsafe(`create trigger wrong ${use}`);
      expect(await refusal(a`delete from ta.wrong`), use).toMatchObject({ code: '39P01' });
      await a`drop trigger wrong on ta.wrong`;
    }
    await a`create trigger wrong after delete on ta.wrong for each row execute function acme.cancel_when_deleted('nosuch')`;
    expect(await refusal(a`delete from ta.wrong`)).toMatchObject({ code: '42703' });
  });
});
