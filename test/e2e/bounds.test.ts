import type postgres from 'postgres';
import { beforeAll, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { scale } from '../helpers/scale.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { authorizationOf, challengeByHand, putInState, underWay } from '../helpers/state/index.ts';
import { faultyWorld, freshName } from '../helpers/world.ts';

// What a tenant may write is bounded: every column and every argument is tried with what is out of any measure. It is
// refused with a sentence, or does nothing; and meanwhile another tenant's certificate is issued.

const MB = 1024 * 1024;
const CHARACTERS = ['001b', '0007', '000a', '007f', '0085', '200e', '202e', '2028', '2066', '061c'];

/** SQL expressions of a type that are out of any measure; the text of `size` bytes is made by PostgreSQL. */
function extremes(type: string, size: number): string[] {
  switch (type) {
    case 'text':
      return [`repeat('a', ${size})`, ...CHARACTERS.map((hex) => `'a' || U&'\\${hex}' || 'b'`)];
    case 'text[]':
      return extremes('text', size).map((value) => `array[${value}]`);
    case 'jsonb':
      return [
        `jsonb_build_object('a', repeat('a', ${Math.min(size, 200 * MB)}))`,
        ...CHARACTERS.flatMap((hex) => [
          `jsonb_build_object('a', 'a' || U&'\\${hex}')`,
          `jsonb_build_object(U&'\\${hex}', 1)`,
          `jsonb_build_object('a', E'\\\\' || U&'\\${hex}')`,
        ]),
      ];
    case 'interval':
      return [
        `interval '200000 years'`,
        `interval '-200000 years'`,
        `interval '293000 years -106940000 days'`,
        `interval '106740000 days -2561000000 hours'`,
        `interval '2562000000 hours -106740000 days'`,
        `case when current_setting('server_version_num')::int >= 170000 then 'infinity' else '170000000 years' end::interval`,
      ];
    case 'timestamp with time zone':
      return ['infinity', '-infinity', '4714-11-24 BC', '294276-12-31'].map(
        (time) => `timestamptz '${time}'`,
      );
    case 'bigint':
      return ['9223372036854775807', '-9223372036854775808'].map((n) => `bigint '${n}'`);
    case 'integer':
      return ['2147483647', '-2147483648'].map((n) => `int '${n}'`);
    case 'bytea':
      return [`convert_to(repeat('a', ${size}), 'UTF8')`];
    case 'boolean':
      return [];
    default:
      throw new Error(`Say here what is out of any measure for the type ${type}.`);
  }
}

interface Column {
  table: string;
  name: string;
  type: string;
  insert: boolean;
  update: boolean;
}

/** All that acme_app may write, column by column. */
const writable = (sql: postgres.Sql) => sql<Column[]>`
  select c.oid::regclass::text as table, a.attname as name, format_type(a.atttypid, null) as type,
         has_column_privilege('acme_app', c.oid, a.attnum, 'insert') as insert,
         has_column_privilege('acme_app', c.oid, a.attnum, 'update') as update
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   where c.relnamespace = 'acme'::regnamespace and c.relkind in ('r', 'v')
     and (has_column_privilege('acme_app', c.oid, a.attnum, 'insert')
          or has_column_privilege('acme_app', c.oid, a.attnum, 'update'))
   order by 1, a.attnum`;

/** A row of each table that acme_app may insert into, but for the column that is tried. */
const rowsOf: Record<string, (shop: Rows) => Record<string, string>> = {
  'acme.csr': () => ({ pem: pemShapedLikeCsr() }),
  'acme.revocation_request': ({ certificate }) => ({
    certificate_id: certificate,
    reason: 'superseded',
  }),
  'acme.deactivation_request': ({ authorization }) => ({ authorization_id: authorization }),
};

/** What takes any value and makes its own of it. */
const HARMLESS = [
  // The trigger writes the row's version.
  'acme.csr.retry_request',
  'acme.csr.renew_request',
  'acme.csr.cancel_request',
];

interface Rows extends Shop {
  csr: string;
  certificate: string;
  authorization: string;
  record: string;
}

/** Rows of the application to write to. */
async function rows(): Promise<Rows> {
  const shop = await openShop();
  const { sql } = shop;
  const csr = await shop.insert();
  await putInState(sql, csr, 'issued');
  const [certificate] = await sql<
    [{ id: string }]
  >`select id from acme.certificate where csr_id = ${csr}`;
  const { order } = await underWay(shop, { state: 'authorizing', url: 'u' });
  const authorization = await authorizationOf(sql, [order]);
  const { record } = await challengeByHand(sql, authorization);
  return { ...shop, csr, certificate: certificate.id, authorization, record };
}

const undo = new Error('undo');

/** What an application is told; undefined: it is done, and undone. */
async function told(
  app: postgres.Sql,
  statement: string,
  values: string[] = [],
): Promise<postgres.PostgresError | undefined> {
  try {
    await app.begin(async (tx) => {
      await tx.unsafe(statement, values);
      throw undo;
    });
  } catch (error) {
    if (error === undo) return undefined;
    return error as postgres.PostgresError;
  }
  return undefined;
}

/** A sentence of ours, which is short whatever was given. */
function expectSentence(error: postgres.PostgresError | undefined, what: string): void {
  expect(error, what).toBeDefined();
  expect(error?.code, `${what}: ${error?.message}`).toMatch(
    /^(22023|23514|23503|42501|P0002|P0001|55000)$/,
  );
  expect(error?.message, what).not.toMatch(
    /violates|value too long|out of range|permission denied/,
  );
  expect(error?.message.length, what).toBeLessThan(1000);
  expect(error?.detail ?? '', what).not.toMatch(/Failing row/);
}

let shop: Rows;

beforeAll(async () => {
  shop = await rows();
});

test('acme_app writes through schema acme alone', async () => {
  const [row] = await shop.sql<[{ usage: boolean }]>`
    select has_schema_privilege('acme_app', 'acme_private', 'usage') as usage`;
  expect(row.usage).toBe(false);
});

test('every column that acme_app may write refuses what is out of any measure, with a sentence', async () => {
  const { sql, app } = shop;
  const columns = await writable(sql);
  expect(columns.length).toBeGreaterThan(15);
  for (const { table, name, type, insert, update } of columns) {
    const column = `${table}.${name}`;
    for (const value of extremes(type, 2 * MB)) {
      if (insert) {
        const row = Object.entries(rowsOf[table]?.(shop) ?? {}).filter(([key]) => key !== name);
        const list = [name, ...row.map(([key]) => key)].join(', ');
        const values = [value, ...row.map((_, at) => `$${at + 1}`)].join(', ');
        const error = await told(
          app,
          `insert into ${table} (${list}) values (${values})`,
          row.map(([, given]) => given),
        );
        expectSentence(error, `insert of ${value} into ${column}`);
      }
      if (update) {
        const id = table === 'acme.record' ? shop.record : shop.csr;
        const error = await told(app, `update ${table} set ${name} = ${value} where id = ${id}`);
        if (HARMLESS.includes(column)) expect(error, column).toBeUndefined();
        else expectSentence(error, `update of ${column} to ${value}`);
      }
    }
  }
}, 300_000);

test('every argument that acme_app may give is refused with a sentence, or changes nothing', async () => {
  const functions = await shop.sql<{ name: string; types: string[] }[]>`
    select p.oid::regproc::text as name,
           array(select format_type(t, null) from unnest(p.proargtypes) with ordinality u (t, at) order by at) as types
      from pg_proc p
     where p.pronamespace = 'acme'::regnamespace and has_function_privilege('acme_app', p.oid, 'execute')`;
  expect(functions.length).toBeGreaterThan(10);
  for (const { name, types } of functions) {
    for (const [at, type] of types.entries()) {
      for (const value of extremes(type, 2 * MB)) {
        const args = types.map((other, n) =>
          n === at
            ? value
            : other === 'bigint'
              ? shop.csr
              : other === 'text'
                ? `'superseded'`
                : 'null',
        );
        const call = `select ${name}(${args.join(', ')})`;
        const error = await told(shop.app, call);
        if (error !== undefined) expectSentence(error, call);
      }
    }
  }
}, 300_000);

test("another tenant's certificate is issued meanwhile", async () => {
  const world = await faultyWorld();
  const { sql } = world;
  await world.worker();
  const evil = await world.database.as('acme_app', { login: 'evil' });
  const columns = (await writable(sql)).filter(({ table }) => table === 'acme.csr');
  const good: string[] = [];
  for (const { name, type } of columns) {
    // (Of the smaller counts of CI one column is as large.)
    for (const value of extremes(type, scale >= 1 || name === 'ref' ? 300 * MB : 2 * MB)) {
      const pem = name === 'pem' ? '' : `'${pemShapedLikeCsr()}', `;
      await evil
        .unsafe(`insert into acme.csr (${pem && 'pem, '}${name}) values (${pem}${value})`)
        .catch(() => undefined);
    }
    if (good.length < 3) good.push(await world.insert({ names: [freshName('good')] }));
  }
  for (const id of good) await world.reach(id, 'issued');
}, 300_000);
