import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { until } from '../helpers/until.ts';
import { freshName, pebbleWorld, type World } from '../helpers/world.ts';

/** What tenant A has: one csr issued, one that waits for a person to publish, one record to remove. */
interface Theirs {
  csr: string;
  pem: string;
  ref: string;
  name: string;
  certificate: string;
  toPublish: string;
  toRemove: string;
  authorization: string;
}

let world: World;
let a: postgres.Sql;
let b: postgres.Sql;
let theirs: Theirs;

const ends: (() => Promise<void>)[] = [];
afterAll(() => Promise.all(ends.map((end) => end())));

beforeAll(async () => {
  world = await pebbleWorld({}, (end) => ends.push(end));
  await world.sql`insert into acme.solver (name, method, names) values ('by-hand', 'manual', '{by-hand.example.net}')`;
  // Workers do all their work as a member of acme_worker, and may do nothing that needs more.
  const login = await world.database.login('acme_worker');
  const worker = await world.worker({ databaseUrl: login.url });
  a = await world.database.as('acme_app', { login: 'a', max: 4 });
  b = await world.database.as('acme_app', { login: 'b', max: 4 });
  theirs = await makeTheirs();
  await worker.stop();
});

async function makeTheirs(): Promise<Theirs> {
  const name = freshName('shop');
  const { pem } = await makeCsr({ names: [name] });
  const byHand = await Promise.all(
    ['one', 'two'].map((label) => makeCsr({ names: [`${label}.by-hand.example.net`] })),
  );
  const [csr] = await a<[{ id: string }]>`
    insert into acme.csr (pem, ref) values (${pem}, 'shop') returning id`;
  const manual = await a<{ id: string }[]>`
    insert into acme.csr (pem, solver)
    select unnest(${byHand.map((one) => one.pem)}::text[]), 'by-hand' returning id`;
  const todo = await until(
    async () => {
      const rows = await a<{ id: string; csr_id: string }[]>`
        select id, csr_id from acme.challenge_todo where action = 'publish'`;
      return rows.length === 2 && rows;
    },
    { what: 'both challenges are to be published by hand', timeoutMs: 20_000 },
  );
  const first = todo.find((row) => row.csr_id === manual[0]?.id);
  const second = todo.find((row) => row.csr_id === manual[1]?.id);
  if (first === undefined || second === undefined) throw new Error('a challenge of another csr');
  await a`select acme.challenge_published(${first.id})`;
  await world.reach(first.csr_id, 'issued');
  const { certificate_id: certificate } = await world.reach(csr.id, 'issued');
  if (certificate === null) throw new Error('there is no certificate');
  const [authorization] = await a<[{ id: string }]>`
    select id from acme.authorization where identifier = ${name}`;
  return {
    csr: csr.id,
    authorization: authorization.id,
    certificate,
    pem,
    ref: 'shop',
    name,
    toPublish: second.id,
    toRemove: first.id,
  };
}

/** What a call answers: its value, or its error with the id and every other number taken out. */
async function answer(sql: postgres.Sql, call: string, parameters: string[]): Promise<unknown> {
  try {
    return await sql.unsafe(call, parameters);
  } catch (error) {
    return failure(error, parameters[0]);
  }
}

function failure(error: unknown, id = ''): unknown {
  if (!(error instanceof Error)) throw error;
  const { code, message, hint, detail } = error as postgres.PostgresError;
  const shown = id === '' ? message : message.replaceAll(id, '#');
  return { code, message: shown.replace(/\d+/g, '#'), hint, detail };
}

/** Everything that tenant A has, for comparison. */
async function rowsOfA(): Promise<unknown> {
  const tenant = (await world.database.login('acme_app', { login: 'a' })).role;
  return Promise.all([
    world.sql`select * from acme.csr where tenant = ${tenant} order by id`,
    world.sql`select * from acme_private.csr_state where tenant = ${tenant} order by csr_id`,
    world.sql`select * from acme_private."order" where tenant = ${tenant} order by id`,
    world.sql`select * from acme_private.record where tenant = ${tenant} order by id`,
    world.sql`select * from acme_private.certificate where tenant = ${tenant} order by id`,
    world.sql`select * from acme_private.event where tenant = ${tenant} order by id`,
  ]);
}

const UNKNOWN = '987654321';

/** Runs one query as tenant B, with the setting acme.tenant naming tenant A, and takes back what it did. */
type Run = (query: string, id?: string) => Promise<unknown>;

/** The ways of setting acme.tenant. Each makes a `Run` of the login of this name, once. */
const ways: Record<string, (login: string, tenant: string) => Promise<Run>> = {
  set: async (login, tenant) => {
    const sql = await connection(login);
    await sql`select set_config('acme.tenant', ${tenant}, false)`;
    return (query, id) => undone(sql, (tx) => answerOf(tx, query, id));
  },
  'set local': async (login, tenant) => {
    const sql = await connection(login);
    return (query, id) =>
      undone(sql, async (tx) => {
        await tx`select set_config('acme.tenant', ${tenant}, true)`;
        return answerOf(tx, query, id);
      });
  },
  PGOPTIONS: async (login, tenant) => {
    const sql = await connection(login, { options: `-c acme.tenant=${tenant}` });
    return (query, id) => undone(sql, (tx) => answerOf(tx, query, id));
  },
  'alter role': async (login, tenant) => {
    const role = await roleOf(login);
    await world.sql`alter role ${world.sql(role)} set acme.tenant = ${world.sql.unsafe(`'${tenant}'`)}`;
    const sql = await connection(login);
    ends.push(async () => {
      await world.sql`alter role ${world.sql(role)} reset acme.tenant`;
    });
    return (query, id) => undone(sql, (tx) => answerOf(tx, query, id));
  },
  "a function's set clause": async (login, tenant) => {
    const sql = await connection(login);
    const schema = `own_${login}`;
    await world.sql`create schema ${world.sql(schema)} authorization ${world.sql(await roleOf(login))}`;
    // (Newer versions of PostgreSQL let nobody else write such a clause.)
    await world.sql.unsafe(`
      create function ${schema}.run(query text) returns setof jsonb
      language plpgsql set acme.tenant = '${tenant}'
      as $$ begin return query execute query; end $$;
      grant execute on function ${schema}.run(text) to public`);
    return (query, id) =>
      undone(sql, (tx) =>
        answerOf(
          tx,
          query,
          id,
          (text) => `select * from ${schema}.run($run$${text}$run$) to_jsonb`,
        ),
      );
  },
  'set role': async (login, tenant) => {
    const pooler = await world.database.as('acme_multi_tenant', {
      login: `pooler_${login}`,
      max: 1,
    });
    const role = await roleOf(login);
    await world.sql`grant ${world.sql(role)} to ${world.sql(await roleOf(`pooler_${login}`))}`;
    await pooler`select set_config('acme.tenant', ${tenant}, false)`;
    return (query, id) =>
      undone(pooler, async (tx) => {
        await tx`set local role ${tx(role)}`;
        return answerOf(tx, query, id);
      });
  },
};

const connections: postgres.Sql[] = [];
ends.push(async () => {
  await Promise.all(connections.map((sql) => sql.end({ timeout: 1 })));
});

const roleOf = async (login: string): Promise<string> =>
  (await world.database.login('acme_app', { login })).role;

/** One connection of a login of acme_app that was made before. */
async function connection(login: string, settings: Record<string, string> = {}) {
  const { url } = await world.database.login('acme_app', { login });
  const sql = postgres(url, { max: 1, onnotice: () => undefined, connection: settings });
  connections.push(sql);
  return sql;
}

const asJson = (query: string): string => `select to_jsonb(t) from (${query}) t`;

/** The rows, or the error without the id that was called with; `wrap`: what runs the query. */
async function answerOf(
  tx: postgres.TransactionSql,
  query: string,
  id = '',
  wrap: (text: string) => string = (text) => text,
): Promise<unknown> {
  try {
    const rows = await tx.savepoint((sp) =>
      sp.unsafe<{ to_jsonb: unknown }[]>(wrap(asJson(query))),
    );
    return rows.map((row) => row.to_jsonb);
  } catch (error) {
    return failure(error, id);
  }
}

async function undone<T>(sql: postgres.Sql, work: (tx: postgres.TransactionSql) => Promise<T>) {
  const undo = new Error('undo');
  let result: T | undefined;
  await sql
    .begin(async (tx) => {
      result = await work(tx);
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  return result as T;
}

describe('a function that takes an id', () => {
  /** Each public function: how it is called on tenant A's row, or why it can reach none. */
  const calls: Record<string, { call: string; id: () => string } | { reachesNone: string }> = {
    'acme.cancel(bigint)': { call: 'select acme.cancel($1)', id: () => theirs.csr },
    'acme.retry(bigint)': { call: 'select acme.retry($1)', id: () => theirs.csr },
    'acme.renew(bigint,text)': { call: `select acme.renew($1, 'now')`, id: () => theirs.csr },
    'acme.revoke(bigint,text,boolean)': {
      call: `select acme.revoke($1, 'superseded')`,
      id: () => theirs.csr,
    },
    'acme.revoke_certificate(bigint,text)': {
      call: `select acme.revoke_certificate($1, 'keyCompromise')`,
      id: () => theirs.certificate,
    },
    'acme.deactivate_authorization(bigint)': {
      call: 'select acme.deactivate_authorization($1)',
      id: () => theirs.authorization,
    },
    'acme.preauthorize(text,text,text)': { reachesNone: 'tried in preauthorization.test.ts' },
    'acme.release_domain(text,boolean)': { reachesNone: 'tried in release.test.ts' },
    'acme.move_name(text,text)': { reachesNone: 'for acme_admin' },
    'acme.current_tenant()': { reachesNone: 'tried in tenant-role.test.ts' },
    'acme.cancel_when_deleted()': { reachesNone: 'tried in deletion.test.ts' },
    'acme.delete_csrs(bigint[])': { reachesNone: 'for the owner' },
    'acme.certificate_was_revoked(bigint,text)': { reachesNone: 'for acme_admin' },
    'acme.explain(bigint)': { call: 'select acme.explain($1)', id: () => theirs.csr },
    'acme.wait(bigint,interval)': {
      call: `select acme.wait($1, '0 s')`,
      id: () => theirs.csr,
    },
    'acme.challenge_published(bigint)': {
      call: 'select acme.challenge_published($1)',
      id: () => theirs.toPublish,
    },
    'acme.challenge_removed(bigint)': {
      call: 'select acme.challenge_removed($1)',
      id: () => theirs.toRemove,
    },
    'acme.request(text,text,text,text,text)': { reachesNone: 'tried below with the CSR of A' },
    'acme.adopt(text,text,text,text)': { reachesNone: 'for acme_admin' },
    'acme.certificate_for(text,bytea)': { reachesNone: 'tried below with the name of A' },
    'acme.changes(text,integer)': { reachesNone: 'tried in changes.test.ts' },
    'acme.csr_problem(text)': { reachesNone: 'reads no table' },
    'acme.version()': { reachesNone: 'reads no table' },
    'acme.http01_response(text,text)': {
      reachesNone: 'not for acme_app; its callers serve all tenants',
    },
    'acme.pause(text,text,text)': { reachesNone: 'for acme_admin' },
    'acme.agree_terms(text)': { reachesNone: 'for acme_admin' },
    'acme.verify_account(text)': { reachesNone: 'for acme_admin' },
    'acme.roll_over_key(text)': { reachesNone: 'for acme_admin' },
    'acme.replace_account(text,text)': { reachesNone: 'for acme_admin' },
    'acme.deactivate_account(text)': { reachesNone: 'for acme_admin' },
    'acme.resume(text,text)': { reachesNone: 'for acme_admin' },
  };

  test('is in the list of this test, whoever adds one', async () => {
    const functions = await world.sql<{ name: string }[]>`
      select oid::regprocedure::text as name from pg_proc where pronamespace = 'acme'::regnamespace`;
    expect(functions.map(({ name }) => name).sort()).toEqual(Object.keys(calls).sort());
  });

  const onA = Object.entries(calls).flatMap(([name, call]) =>
    'call' in call ? [{ name, ...call }] : [],
  );

  test.each(onA)(
    "$name gives the error of an unknown id for another tenant's, and changes nothing",
    async ({ call, id }) => {
      const before = await rowsOfA();
      const foreign = await answer(b, call, [id()]);
      expect(foreign).toHaveProperty('message');
      expect(foreign).toEqual(await answer(b, call, [UNKNOWN]));
      expect(await rowsOfA()).toEqual(before);
    },
  );

  test('acme.request with the CSR and ref of another tenant makes a csr of its own', async () => {
    const before = await rowsOfA();
    for (const onDuplicate of ['return', 'renew', 'refuse']) {
      const rows = await b.begin(async (tx) => {
        const made = await tx<{ id: string; tenant: string }[]>`
          select id, tenant from acme.request(${theirs.pem}, ${theirs.ref}, on_duplicate := ${onDuplicate})`;
        await tx`select acme.cancel(${made[0]?.id ?? null})`;
        return made;
      });
      expect(rows[0]?.id).not.toBe(theirs.csr);
      expect(rows[0]?.tenant).toMatch(/_b$/);
      await world.sql`select acme_private.attend(null, ${rows[0]?.id ?? null}, 0)`;
    }
    expect(await rowsOfA()).toEqual(before);
  });

  test('acme.certificate_for finds the certificate for its tenant only', async () => {
    const look = (sql: postgres.Sql) =>
      sql`select csr_id from acme.certificate_for(${theirs.name})`;
    expect(await look(a)).toEqual([{ csr_id: theirs.csr }]);
    expect(await look(b)).toEqual([]);
    expect(await look(await world.database.as('acme_reader'))).toHaveLength(1);
  });

  describe.each(Object.keys(ways))('acme.tenant by %s', (way) => {
    test('moves no login outside acme_multi_tenant, whatever it reads or calls', async () => {
      const tenant = await roleOf('a');
      const plain: Run = (query, id) => undone(b, (tx) => answerOf(tx, query, id));
      const run = await ways[way]?.('b', tenant);
      if (run === undefined) throw new Error(way);
      expect(await run('select acme.current_tenant()')).toEqual([
        { current_tenant: await roleOf('b') },
      ]);
      const readable = await world.sql<{ name: string; columns: string }[]>`
        select c.oid::regclass::text as name, string_agg(quote_ident(a.attname), ', ') as columns
          from pg_class c
          join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relnamespace = 'acme'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
           and has_column_privilege('acme_app', c.oid, a.attnum, 'select')
         group by c.oid`;
      expect(readable.length).toBeGreaterThan(15);
      const before = await rowsOfA();
      for (const query of [
        ...readable.map(({ name, columns }) => `select ${columns} from ${name} order by 1`),
        'select * from acme.changes()',
        `select * from acme.certificate_for('${theirs.name}')`,
        `select kind, what from acme.release_domain('${theirs.name}')`,
      ]) {
        expect(await run(query), query).toEqual(await plain(query));
      }
      expect(await run(`select tenant from acme.request('${theirs.pem}')`)).toEqual([
        { tenant: await roleOf('b') },
      ]);
      const called = (on: Run, call: string, id: string) => on(call.replace('$1', `'${id}'`), id);
      for (const { call, id } of onA) {
        const foreign = await called(run, call, id());
        expect(foreign, call).toHaveProperty('message');
        expect(foreign, call).toEqual(await called(plain, call, UNKNOWN));
      }
      expect(await rowsOfA()).toEqual(before);
    });

    test('is what a login of acme_multi_tenant acts for, and no other', async () => {
      const tenant = await roleOf('a');
      const login = `many_${Object.keys(ways).indexOf(way)}`;
      await world.sql`grant acme_multi_tenant to ${world.sql(await roleOf(login))}`;
      const run = await ways[way]?.(login, tenant);
      expect(await run?.('select acme.current_tenant()')).toEqual([{ current_tenant: tenant }]);
      expect(await run?.('select distinct tenant from acme.csr_status')).toEqual([{ tenant }]);
    });
  });
});

describe('a table or view', () => {
  /** Each public relation: with rows of tenants, shared by all, or not for applications. */
  const relations: Record<
    string,
    | 'of tenants'
    | 'shared'
    | 'not for acme_app'
    | 'tried in stuck.test.ts'
    | 'tried in attention.test.ts'
    | 'tried in revocation.test.ts'
    | 'tried in deactivation.test.ts'
  > = {
    'acme.csr': 'of tenants',
    'acme.csr_status': 'of tenants',
    'acme.current_certificate': 'of tenants',
    'acme."order"': 'of tenants',
    'acme."authorization"': 'of tenants',
    'acme.order_authorization': 'of tenants',
    'acme.challenge': 'of tenants',
    'acme.record': 'of tenants',
    'acme.certificate': 'of tenants',
    'acme.certificate_name': 'of tenants',
    'acme.revocation_request': 'tried in revocation.test.ts',
    'acme.deactivation_request': 'tried in deactivation.test.ts',
    'acme.blocked_key': 'not for acme_app',
    'acme.challenge_todo': 'of tenants',
    'acme.event': 'of tenants',
    'acme.server': 'shared',
    'acme.server_feature': 'shared',
    'acme.account': 'not for acme_app',
    'acme.usable_account': 'shared',
    'acme.solver': 'shared',
    'acme.account_domain': 'not for acme_app',
    'acme.tenant_role': 'not for acme_app',
    'acme.account_status': 'not for acme_app',
    'acme.stuck': 'tried in stuck.test.ts',
    'acme.attention': 'tried in attention.test.ts',
    'acme.attention_code': 'shared',
    'acme.attention_settings': 'shared',
    'acme.cooldown': 'not for acme_app',
    'acme.paused_csr': 'not for acme_app',
    'acme.resume_request': 'not for acme_app',
    'acme.worker_status': 'not for acme_app',
    'acme.name_owner': 'of tenants',
  };

  test('is in the list of this test, whoever adds one', async () => {
    const found = await world.sql<{ name: string }[]>`
      select oid::regclass::text as name
        from pg_class
       where relnamespace = 'acme'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')`;
    expect(found.map(({ name }) => name).sort()).toEqual(Object.keys(relations).sort());
  });

  const ofTenants = Object.entries(relations).flatMap(([name, kind]) =>
    kind === 'of tenants' ? [name] : [],
  );

  test.each(ofTenants)(
    '%s shows an application its own rows, watchers and administrators all',
    async (name) => {
      // A login that has nothing sees nothing, also of B.
      const c = await world.database.as('acme_app', { login: 'c' });
      const count = async (sql: postgres.Sql) => (await sql.unsafe(`select from ${name}`)).length;
      const total = await count(world.sql);
      expect(await count(a)).toBeGreaterThan(0);
      expect(await count(c)).toBe(0);
      // What is said of accounts belongs to nobody, and is for watchers.
      const ofNobody =
        name === 'acme.event'
          ? (await world.sql`select from acme.event where tenant is null`).length
          : 0;
      expect((await count(a)) + (await count(b))).toBe(total - ofNobody);
      expect(await count(await world.database.as('acme_reader'))).toBe(total);
      expect(await count(await world.database.as('acme_admin'))).toBe(total);
    },
  );

  test('private tables that views read all have row-level security', async () => {
    const open = await world.sql<{ name: string }[]>`
      select distinct c.oid::regclass::text as name
        from pg_class c
        join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant'
        join pg_attribute x on x.attrelid = c.oid and x.attnum > 0
       where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
         and c.relkind = 'r'
         and not c.relrowsecurity
         and has_column_privilege('acme_app', c.oid, x.attnum, 'select')`;
    expect(open).toEqual([]);
  });
});

test('acme.tenant keeps the tenants of a login of acme_multi_tenant apart', async () => {
  const shared = await world.database.as('acme_multi_tenant', { login: 'shared', max: 1 });
  const { pem } = await makeCsr({ names: [freshName('shared')] });
  const as = <T>(tenant: string, work: (tx: postgres.TransactionSql) => Promise<T>) =>
    shared.begin(async (tx) => {
      await tx`select set_config('acme.tenant', ${tenant}, true)`;
      return work(tx);
    });
  const insert = (tx: postgres.TransactionSql) =>
    tx<
      { id: string; tenant: string }[]
    >`insert into acme.csr (pem, ref) values (${pem}, 'x') returning id, tenant`;
  const [one] = await as('one', insert);
  const [two] = await as('two', insert);
  expect([one?.tenant, two?.tenant]).toEqual(['one', 'two']);
  const ids = (tx: postgres.Sql | postgres.TransactionSql) =>
    tx<{ id: string }[]>`select id from acme.csr_status order by id`;
  expect(await as('one', ids)).toEqual([{ id: one?.id }]);
  expect(await as('two', ids)).toEqual([{ id: two?.id }]);
  // Without the setting the login itself is the tenant; empty is the same as unset.
  expect(await ids(shared)).toEqual([]);
  expect(await as('', ids)).toEqual([]);
  await expect(as('two', (tx) => tx`select acme.cancel(${one?.id ?? null})`)).rejects.toThrow(
    `There is no csr ${one?.id}.`,
  );
});

test('acme_admin retries, renews and cancels csrs of every tenant, and publishes for them', async () => {
  const admin = await world.database.as('acme_admin');
  const [before] = await world.sql<[{ version: number }]>`
    select version::int from acme.csr where id = ${theirs.csr}`;
  await admin`select acme.retry(${theirs.csr})`;
  await admin`select acme.renew(${theirs.csr}, 'by an administrator')`;
  await admin`select acme.cancel(${theirs.csr})`;
  const [after] = await world.sql<
    [{ version: number; retry: boolean; renew: boolean; cancel: boolean }]
  >`
    select version::int, retry_request is not null as retry, renew_request is not null as renew, cancel_request is not null as cancel
      from acme.csr where id = ${theirs.csr}`;
  expect(after).toEqual({ version: before.version + 3, retry: true, renew: true, cancel: true });
  await admin`select acme.challenge_published(${theirs.toPublish})`;
  await admin`select acme.challenge_removed(${theirs.toRemove})`;
  const records = await admin<{ state: string }[]>`
    select state from acme.record where id in (${theirs.toPublish}, ${theirs.toRemove}) order by state`;
  expect(records.map(({ state }) => state)).toEqual(['published', 'removed']);
});
