import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';

let shop: Shop;
let sql: postgres.Sql;
let admin: postgres.Sql;

/** Roles that a test made by itself; they belong to the whole cluster. */
const made: string[] = [];

beforeAll(async () => {
  shop = await openShop();
  ({ sql } = shop);
  admin = await shop.database.as('acme_admin');
});

afterAll(async () => {
  const left = await sql<
    { rolname: string }[]
  >`select rolname from pg_roles where rolname in ${sql(made)}`;
  for (const { rolname } of left) {
    await sql`drop owned by ${sql(rolname)}`;
    await sql`drop role ${sql(rolname)}`;
  }
});

async function newRole(name: string): Promise<string> {
  const role = `${shop.database.name}_${name}`;
  await sql`create role ${sql(role)} in role acme_app`;
  made.push(role);
  return role;
}

/** The tenant that a role acts for, with settings of the transaction. */
async function tenantOf(role: string, setting = ''): Promise<string | undefined> {
  return sql.begin(async (tx) => {
    await tx`select set_config('acme.tenant', ${setting}, true)`;
    await tx`set local role ${tx(role)}`;
    const [row] = await tx<{ tenant: string }[]>`select acme.current_tenant() as tenant`;
    return row?.tenant;
  });
}

const give = (role: string, tenant: string) =>
  admin`insert into acme.tenant_role (role, tenant) values (${role}, ${tenant})`;

const rolesIn = async () =>
  (
    await admin<{ role: string }[]>`select role::text from acme.tenant_role order by created_at`
  ).map(({ role }) => role);

test('the tenant of a role is its name, or what acme.tenant_role has for it', async () => {
  const role = await newRole('web');
  expect(await tenantOf(role)).toBe(role);
  await give(role, 'shop');
  expect(await tenantOf(role)).toBe('shop');
  expect(await tenantOf(role, 'another')).toBe('shop');
  await admin`update acme.tenant_role set tenant = 'moved' where role::text = ${role}`;
  expect(await tenantOf(role)).toBe('moved');
  await admin`delete from acme.tenant_role where role::text = ${role}`;
  expect(await tenantOf(role)).toBe(role);
});

test('a role is its own: what another one has that it is a member of counts for nothing', async () => {
  const role = await newRole('member');
  const group = await newRole('group');
  await sql`grant ${sql(group)} to ${sql(role)}`;
  await give(group, 'of the group');
  expect(await tenantOf(role)).toBe(role);
});

test('a login of acme_multi_tenant acts for its own tenant while it names none, never for all', async () => {
  const role = await newRole('many');
  await sql`grant acme_multi_tenant to ${sql(role)}`;
  expect(await tenantOf(role)).toBe(role);
  expect(await tenantOf(role, 'customer-1')).toBe('customer-1');
  await give(role, 'platform');
  expect(await tenantOf(role)).toBe('platform');
  expect(await tenantOf(role, 'customer-1')).toBe('customer-1');
});

test('whoever may only become acme_multi_tenant does not act as it', async () => {
  const role = await newRole('noinherit');
  await sql`grant acme_multi_tenant to ${sql(role)}`;
  // (From PostgreSQL 16 on it is the membership that inherits or does not.)
  await sql`alter role ${sql(role)} noinherit`;
  if (await hasGrantOptions()) {
    await sql`grant acme_multi_tenant to ${sql(role)} with inherit false`;
  }
  await sql`grant usage on schema acme to ${sql(role)}`;
  await sql`grant execute on function acme_private.tenant_of(name), acme_private.current_tenant(), acme.current_tenant() to ${sql(role)}`;
  expect(await tenantOf(role, 'customer-1')).toBe(role);
});

async function hasGrantOptions(): Promise<boolean> {
  const [row] = await sql<[{ has: boolean }]>`
    select current_setting('server_version_num')::int >= 160000 as has`;
  return row.has;
}

test('acme_admin and a superuser act for the tenant that the setting names', async () => {
  expect(await tenantOf('acme_admin', 'customer-1')).toBe('customer-1');
  const [user] = await sql<[{ role: string }]>`select current_user as role`;
  expect(await tenantOf(user.role, 'customer-1')).toBe('customer-1');
  expect(await tenantOf(user.role)).toBe(user.role);
});

test("pgacme's own roles, which every member can become, are no tenant", async () => {
  for (const role of ['acme_app', 'acme_multi_tenant', 'acme_admin']) {
    expect(await tenantOf(role), role).toBeNull();
  }
  const login = await shop.database.as('acme_app');
  await login`set role acme_app`;
  const error = await refusal(login`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`);
  expect(error.message).toMatch(/^null cannot be a tenant/);
  await login`reset role`;
  expect(await tenantOf('acme_multi_tenant', 'customer-1')).toBe('customer-1');
});

test('an entry survives that its role is renamed', async () => {
  const role = await newRole('old');
  await give(role, 'kept');
  const renamed = `${role}"New Name`;
  await sql`alter role ${sql(role)} rename to ${sql(renamed)}`;
  made.push(renamed);
  expect(await tenantOf(renamed)).toBe('kept');
  expect(await rolesIn()).toContain(`"${renamed.replaceAll('"', '""')}"`);
});

test('a role that is made again under an old name inherits nothing, and the old entry goes', async () => {
  const role = await newRole('again');
  await give(role, 'of the first');
  const entries = await rolesIn();
  await sql`drop role ${sql(role)}`;
  await sql`create role ${sql(role)} in role acme_app`;
  expect(await tenantOf(role)).toBe(role);
  expect(await rolesIn()).not.toContain(role);
  await sql`select acme_private.reconcile()`;
  expect(await rolesIn()).toEqual(entries.filter((entry) => entry !== role));
  await give(role, 'of the second');
  expect(await tenantOf(role)).toBe('of the second');
});

test('an entry is dumped by the name of its role', async () => {
  const role = await newRole('dumped');
  await give(role, 'kept');
  const [row] = await sql<[{ line: string }]>`
    select t.role::text as line from acme.tenant_role t where t.role::oid = (select oid from pg_roles where rolname = ${role})`;
  expect(row.line).toBe(role);
  const elsewhere = await freshDatabase();
  await elsewhere.sql`insert into acme.tenant_role (role, tenant) values (${row.line}, 'kept')`;
  expect(
    await elsewhere.sql`select r.rolname from acme.tenant_role t join pg_roles r on r.oid = t.role`,
  ).toEqual([{ rolname: role }]);
  await elsewhere.drop();
});

test('only acme_admin writes entries, and only of roles that there are', async () => {
  const role = await newRole('target');
  for (const name of ['acme_app', 'acme_multi_tenant', 'acme_reader', 'acme_worker']) {
    const login = await shop.database.as(name, { login: `try_${name}` });
    expect(
      await refusal(login`insert into acme.tenant_role (role, tenant) values (${role}, 'x')`),
      name,
    ).toMatchObject({ code: '42501' });
  }
  expect(await refusal(give('nobody_at_all', 'x'))).toMatchObject({ code: '42704' });
  expect(await refusal(give('4000000001', 'x'))).toMatchObject({
    code: '42704',
    message: 'There is no role 4000000001.',
  });
});

const CANNOT =
  'cannot be a tenant: give one of 1 to 200 characters, none of them a control character or one that is not seen.';

test.each([
  ['too long', 'x'.repeat(201)],
  ['a control character', 'shop\u001b[2J'],
  ['a line break', 'shop\nother'],
  ['a bidirectional mark', 'shop\u202eevil'],
  ['a zero width space', 'sh\u200bop'],
])('a tenant cannot be called by %s', async (_, tenant) => {
  const role = await newRole(`bad_${made.length}`);
  expect(await refusal(give(role, tenant))).toMatchObject({
    code: '23514',
    constraint_name: 'tenant_role_tenant_is_plain',
    message: expect.stringContaining(CANNOT) as string,
  });
  const many = await shop.database.as('acme_multi_tenant', { max: 1 });
  await many`select set_config('acme.tenant', ${tenant}, false)`;
  const error = await refusal(many`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`);
  expect(error).toMatchObject({ code: '23514', constraint_name: 'csr_tenant_is_plain' });
  expect(error.message).toContain(CANNOT);
  expect(error.message).not.toContain(tenant);
  await many`select set_config('acme.tenant', '', false)`;
});

test('the constraints refuse what the sentences refuse, also without the triggers', async () => {
  await sql
    .begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      await tx`insert into acme.csr (pem, tenant) values (${pemShapedLikeCsr()}, ${'x\u202ey'})`;
    })
    .then(
      () => expect.unreachable(),
      (error: unknown) =>
        expect(error).toMatchObject({ code: '23514', constraint_name: 'csr_tenant_is_plain' }),
    );
});

test('a login whose name cannot be a tenant is told so, and works with an entry', async () => {
  const role = await newRole('odd\u202ename');
  const insert = () =>
    sql.begin(async (tx) => {
      await tx`set local role ${tx(role)}`;
      return tx<{ tenant: string }[]>`
        insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning tenant`;
    });
  expect(await refusal(insert())).toMatchObject({ constraint_name: 'csr_tenant_is_plain' });
  await sql`insert into acme.tenant_role (role, tenant) select r.oid, 'plain' from pg_roles r where r.rolname = ${role}`;
  expect(await insert()).toEqual([{ tenant: 'plain' }]);
});

test('names in other scripts, spaces and signs can be tenants', async () => {
  for (const tenant of ['Müller & Söhne', '会社', 'a b', 'x'.repeat(200), '550e8400-e29b']) {
    const role = await newRole(`good_${made.length}`);
    await give(role, tenant);
    expect(await tenantOf(role)).toBe(tenant);
  }
});

test("a tenant's own view or function shows nobody but whoever asks", async () => {
  const one = await shop.database.login('acme_app', { login: 'one' });
  const other = await shop.database.login('acme_app', { login: 'other' });
  const asOne = await shop.database.as('acme_app', { login: 'one' });
  const asOther = await shop.database.as('acme_app', { login: 'other' });
  await sql`create schema one authorization ${sql(one.role)}`;
  await asOne`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  await asOther`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
  await asOne`create view one.csrs as select tenant from acme.csr`;
  await asOne`grant usage on schema one to public`;
  await asOne`grant select on one.csrs to public`;
  expect(await asOther`select * from one.csrs`).toEqual([{ tenant: other.role }]);
});
