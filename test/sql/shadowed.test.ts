import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { CALLED, makeShadows } from '../helpers/shadows.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import {
  accountId,
  add,
  putInState,
  registerDefaultAccount,
  set,
  sha256,
  withoutTriggers,
} from '../helpers/state/index.ts';

/** What a tenant has, by id or name. */
interface Things {
  tenant: string;
  csr: string;
  pem: string;
  name: string;
  certificate: string;
  authorization: string;
  toPublish: string;
  toRemove: string;
}

let shop: Shop;
let theirs: Things;
let own: Things;
/** The tenant who attacks: what its session finds first is its own. */
let mallory: postgres.Sql;
/** What of its own was called. */
const called: string[] = [];

beforeAll(async () => {
  shop = await openShop();
  await registerDefaultAccount(shop.sql);
  await shop.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{*}')`;
  theirs = await makeThings('victim');
  own = await makeThings('mallory');
  expect(await makeShadows(shop.sql, 'ta')).toBeGreaterThan(1000);
  const { url } = await shop.database.login('acme_app', { login: 'mallory' });
  mallory = postgres(url, {
    max: 1,
    onnotice: (notice) => {
      const message = notice['message'] ?? '';
      if (message.startsWith(CALLED)) called.push(message.slice(CALLED.length));
    },
  });
  await mallory`set search_path = ta, pg_catalog`;
});

afterAll(() => mallory.end({ timeout: 1 }));

/** A csr with a certificate, an authorization, a record to publish and one to remove, by a tenant of this name. */
async function makeThings(login: string): Promise<Things> {
  const app = await shop.database.as('acme_app', { login });
  const { role: tenant } = await shop.database.login('acme_app', { login });
  const pem = pemShapedLikeCsr();
  const [csr] = await app<[{ id: string }]>`
    insert into acme.csr (pem, ref) values (${pem}, 'shop') returning id`;
  await putInState(shop.sql, csr.id, 'issued');
  return withoutTriggers(shop.sql, async (tx) => {
    await set(tx, 'csr', csr.id, { spki_sha256: sha256(login) });
    const [certificate = ''] = await set(
      tx,
      'certificate',
      { csr_id: csr.id },
      { spki_sha256: sha256(login) },
    );
    const name = `csr-${csr.id}.example.org`;
    await add(tx, 'certificate_name', { name, certificate_id: certificate, tenant });
    const authorization = await add(tx, 'authorization', {
      account_id: await accountId(tx),
      url: `https://ca.example.org/authz/${login}`,
      tenant,
      state: 'valid',
      identifier: name,
    });
    const challenge = await add(tx, 'challenge', {
      authorization_id: authorization,
      tenant,
      url: `https://ca.example.org/chall/${login}`,
      type: 'http-01',
      token: 'token',
      key_authorization: 'token.key',
    });
    const record = (state: string) =>
      add(tx, 'record', {
        challenge_id: challenge,
        tenant,
        solver: 'by-hand',
        method: 'manual',
        type: 'http-01',
        identifier: name,
        token: 'token',
        value: 'token.key',
        state,
      });
    return {
      tenant,
      csr: csr.id,
      pem,
      name,
      certificate,
      authorization,
      toPublish: await record('intended'),
      toRemove: await record('removing'),
    };
  });
}

type Statement = (of: Things) => [sql: string, ...parameters: string[]];

/** What is tried of each object: every function that an application may call, and every table that it may write. */
const attempts: Record<string, Statement[]> = {
  'acme.cancel(bigint)': [({ csr }) => ['select acme.cancel($1)', csr]],
  'acme.retry(bigint)': [({ csr }) => ['select acme.retry($1)', csr]],
  'acme.renew(bigint,text)': [({ csr }) => [`select acme.renew($1, 'now')`, csr]],
  'acme.revoke(bigint,text,boolean)': [
    ({ csr }) => [`select acme.revoke($1, 'superseded', true)`, csr],
    ({ csr }) => [`select acme.revoke($1, '1')`, csr],
  ],
  'acme.revoke_certificate(bigint,text)': [
    ({ certificate }) => [`select acme.revoke_certificate($1, 'keyCompromise')`, certificate],
  ],
  'acme.deactivate_authorization(bigint)': [
    ({ authorization }) => ['select acme.deactivate_authorization($1)', authorization],
  ],
  'acme.release_domain(text,boolean)': [
    ({ name }) => ['select * from acme.release_domain($1, true)', name],
    () => [`select * from acme.release_domain('example.org', true)`],
  ],
  'acme.preauthorize(text,text,text)': [({ name }) => ['select acme.preauthorize($1)', name]],
  'acme.request(text,text,text,text,text)': [
    ({ pem }) => [`select id from acme.request($1, 'shop', on_duplicate := 'renew')`, pem],
    ({ pem }) => ['select id from acme.request($1)', pem],
  ],
  'acme.explain(bigint)': [({ csr }) => ['select acme.explain($1)', csr]],
  'acme.wait(bigint,interval)': [({ csr }) => [`select acme.wait($1, '0 s')`, csr]],
  'acme.challenge_published(bigint)': [
    ({ toPublish }) => ['select acme.challenge_published($1)', toPublish],
  ],
  'acme.challenge_removed(bigint)': [
    ({ toRemove }) => ['select acme.challenge_removed($1)', toRemove],
  ],
  'acme.certificate_for(text,bytea)': [({ name }) => ['select acme.certificate_for($1)', name]],
  'acme.changes(text,integer)': [
    () => ['select acme.changes()'],
    () => [`select acme.changes('1.2.3', 5)`],
  ],
  'acme.csr_problem(text)': [({ pem }) => ['select acme.csr_problem($1)', pem]],
  'acme.version()': [() => ['select acme.version()']],
  'acme.current_tenant()': [() => ['select acme.current_tenant()']],
  'acme.cancel_when_deleted()': [
    ({ csr }) => [
      `drop table if exists pg_temp.shop;
       create temporary table shop (csr_id pg_catalog.int8);
       create trigger cancel_csr after delete on pg_temp.shop
         for each row execute function acme.cancel_when_deleted('csr_id');
       insert into pg_temp.shop values (${csr});
       delete from pg_temp.shop`,
    ],
  ],
  'insert acme.csr': [
    ({ pem }) => [
      `insert into acme.csr (pem, ref, solver, account) values ($1, 'shop', 'by-hand', 'main')`,
      pem,
    ],
    () => [
      `insert into acme.csr (pem, validity, profile) values ($1, '1 h', 'x')`,
      pemShapedLikeCsr(),
    ],
    () => [
      // More than 20 rows are checked in another way.
      `insert into acme.csr (pem) values ${Array.from({ length: 21 }, (_, i) => `($${i + 1})`).join(', ')}`,
      ...Array.from({ length: 21 }, () => pemShapedLikeCsr()),
    ],
  ],
  'update acme.csr': [
    ({ csr }) => [
      `update acme.csr set renewal = 'off', priority = 9, labels = '{"a": 1}', preferred_chain = 'x', validity = '2 h',
              validity_start = '1 h', retry_request = 1, renew_request = 1, renew_reason = 'x', cancel_request = 1,
              cancel_reason = 'x'
        where id operator(pg_catalog.=) $1`,
      csr,
    ],
    () => [`update acme.csr set priority = 7`],
  ],
  'insert acme.revocation_request': [
    ({ certificate }) => [
      `insert into acme.revocation_request (certificate_id, reason, ends_csr) values ($1, 'keyCompromise', true)`,
      certificate,
    ],
    ({ certificate }) => [
      `insert into acme.revocation_request (certificate_id, reason, after_replacement) values ($1, '4', true)`,
      certificate,
    ],
  ],
  'insert acme.deactivation_request': [
    ({ authorization }) => [
      'insert into acme.deactivation_request (authorization_id) values ($1)',
      authorization,
    ],
  ],
  'update acme.record': [
    ({ toPublish }) => [
      `update acme.record set state = 'published' where id operator(pg_catalog.=) $1`,
      toPublish,
    ],
    () => [`update acme.record set state = 'removed'`],
  ],
};

test('everything that an application may call or write is tried', async () => {
  const { role } = await shop.database.login('acme_app', { login: 'mallory' });
  const found = await shop.sql<{ name: string }[]>`
    select p.oid::regprocedure::text as name
      from pg_proc p
     where p.pronamespace = 'acme'::regnamespace and has_function_privilege(${role}, p.oid, 'execute')
    union all
    select w.how || ' ' || c.oid::regclass
      from pg_class c
     cross join unnest(array['insert', 'update', 'delete', 'truncate']) w (how)
     where c.relnamespace = 'acme'::regnamespace and c.relkind in ('r', 'v', 'p')
       and case when w.how in ('insert', 'update') then has_any_column_privilege(${role}, c.oid, w.how)
                else has_table_privilege(${role}, c.oid, w.how) end`;
  expect(found.map(({ name }) => name).sort()).toEqual(Object.keys(attempts).sort());
});

/** Every row that names the tenant, in every table that has one, and whether its key is blocked. */
async function rowsOf({ tenant, csr }: Things): Promise<Record<string, unknown>> {
  const tables = await shop.sql<{ name: string }[]>`
    select a.attrelid::regclass::text as name
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
     where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace) and a.attname = 'tenant'
     order by 1`;
  expect(tables.length).toBeGreaterThan(10);
  const rows: Record<string, unknown> = {};
  for (const { name } of tables) {
    const found = await shop.sql.unsafe<{ row: string }[]>(
      `select to_jsonb(t)::text as row from ${name} t where tenant = $1`,
      [tenant],
    );
    rows[name] = found.map(({ row }) => row).sort();
  }
  rows['blocked'] = await shop.sql`
    select from acme.blocked_key where spki_sha256 = (select spki_sha256 from acme_private.csr_state where csr_id = ${csr})`;
  return rows;
}

/** What workers do after it. */
async function work({ csr, certificate, authorization }: Things): Promise<void> {
  await shop.attend(csr);
  await shop.sql`select acme_private.claim(null, 'certificate', ${certificate})`;
  await shop.sql`select acme_private.claim(null, 'authorization', ${authorization})`;
}

test.each(Object.entries(attempts))(
  '%s with the names of another schema calls nothing of it, and changes nothing of another tenant',
  async (_, statements) => {
    const before = await rowsOf(theirs);
    called.length = 0;
    for (const things of [theirs, own]) {
      for (const statement of statements) {
        const [sql, ...parameters] = statement(things);
        // Refused or not: that is for other tests.
        await mallory.unsafe(sql, parameters).catch(() => undefined);
      }
    }
    await work(theirs);
    expect(await rowsOf(theirs)).toEqual(before);
    expect([...new Set(called)].sort()).toEqual([]);
  },
);
