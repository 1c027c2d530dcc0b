import { readdir, readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { ownSettings, settings } from './settings.ts';

let shop: Shop;
/** Each tenant inserts the same one. */
const PEM = pemShapedLikeCsr();

beforeAll(async () => {
  shop = await openShop();
});

describe('a function', () => {
  interface Body {
    name: string;
    isParsed: boolean;
    config: string[] | null;
    source: string;
  }
  let functions: Body[];

  beforeAll(async () => {
    functions = await shop.sql<Body[]>`
      select oid::regprocedure::text as name, prosqlbody is not null as "isParsed", proconfig as config, prosrc as source
        from pg_proc
       where pronamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
       order by 1`;
    expect(functions.length).toBeGreaterThan(100);
  });

  test('was parsed when it was created, or pins what its names and strings mean', () => {
    const wrong = functions
      .map(({ name, isParsed, config, source }) => {
        const pins = [
          ...(isParsed ? [] : ['search_path=pg_catalog, pg_temp']),
          ...(!isParsed && source.includes('\\') ? ['standard_conforming_strings=on'] : []),
        ];
        // What it costs is no meaning.
        const has = (config ?? []).filter(
          (setting) => !['jit=off', 'enable_seqscan=off'].includes(setting),
        );
        return { name, has: has.join(', '), pins: pins.join(', ') };
      })
      .filter(({ has, pins }) => has !== pins);
    expect(wrong, 'as in its header: set search_path = pg_catalog, pg_temp').toEqual([]);
  });

  test.each([
    [
      'a comparison with null',
      /(?:\b(?:where|and|or|when|if|on|not|select)\b|\()\s*[\w.]+\s*(?:=|<>)\s*null\b/i,
    ],
    ['null in the text of an array', /'\{[^}']*\bnull\b[^}']*\}'/i],
    ["\\' in a string", /\\'/],
    ['an ASSERT', /^\s*assert\b/im],
    ['XML', /\bxml/i],
    ['text search', /\bto_ts(?:vector|query)\b/i],
    ['the words of a locale', /to_char\([^)]*'[^']*(?:TM|[DGL]9|9[DG]|MI?L)[^']*'/],
  ])('has not %s, which a setting changes', (_, pattern) => {
    expect(functions.filter(({ source }) => pattern.test(source)).map(({ name }) => name)).toEqual(
      [],
    );
  });
});

test('no column is of a type, and no index of a kind, whose answers depend on a setting', async () => {
  const columns = await shop.sql`
    select a.attrelid::regclass::text as table, a.attname as column
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p')
     where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace) and a.attnum > 0
       and a.atttypid in ('float4'::regtype, 'float8'::regtype, 'money'::regtype, 'xml'::regtype, 'tsvector'::regtype,
                          'timestamp'::regtype, 'time'::regtype)`;
  expect(columns).toEqual([]);
  const indexes = await shop.sql`
    select c.oid::regclass::text as index
      from pg_class c
      join pg_am m on m.oid = c.relam and m.amname = 'gin'
     where c.relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)`;
  expect(indexes).toEqual([]);
});

/** What views, policies, defaults, checks, triggers, indexes and functions of acme and acme_private need from elsewhere. */
async function neededFromElsewhere(sql: postgres.Sql): Promise<unknown> {
  return sql`
    with own as (
      select 'pg_class'::regclass as classid, oid as objid from pg_class where relnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
      union all select 'pg_proc'::regclass, oid from pg_proc where pronamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
      union all select 'pg_type'::regclass, oid from pg_type where typnamespace in ('acme'::regnamespace, 'acme_private'::regnamespace)
    ),
    parts as (
      select * from own
      union all
      -- rules of views, policies, defaults, constraints, triggers
      select d.classid, d.objid
        from pg_depend d
        join own o on o.classid = d.refclassid and o.objid = d.refobjid
       where d.classid in ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass,
                           'pg_trigger'::regclass)
    )
    select distinct pg_describe_object(d.classid, d.objid, 0) as object, pg_describe_object(d.refclassid, d.refobjid, 0) as needs
      from parts p
      join pg_depend d on d.classid = p.classid and d.objid = p.objid
     where d.deptype in ('n', 'a')
       and (pg_identify_object(d.refclassid, d.refobjid, 0)).schema not in ('pg_catalog', 'acme', 'acme_private')
       and not exists (select from parts q where q.classid = d.refclassid and q.objid = d.refobjid)`;
}

test('no view, policy, default, check, trigger or index uses anything but ours and what PostgreSQL has', async () => {
  expect(await neededFromElsewhere(shop.sql)).toEqual([]);
});

test('migrate takes the names of its own files, whatever search_path the database gives its login', async () => {
  const { name, sql, url } = await freshDatabase();
  await sql.unsafe(`
    create schema ta;
    grant usage on schema ta to public;
    create function ta.text_is(a text, b text) returns boolean language sql immutable as 'select true';
    create function ta.has(a text, b text) returns text language sql immutable as 'select null::pg_catalog.text';
    create operator ta.= (leftarg = text, rightarg = text, function = ta.text_is);
    create operator ta.|| (leftarg = text, rightarg = text, function = ta.has);
    create function ta.now() returns timestamptz language sql as 'select ''-infinity''::pg_catalog.timestamptz';
    create function ta.length(text) returns int language sql immutable as 'select 0';
    alter database ${name} set search_path = ta, pg_catalog;
    delete from acme_private.migration where name = 'api'`);
  expect((await migrate({ databaseUrl: url })).applied).toEqual(['api']);
  expect(await neededFromElsewhere(sql)).toEqual([]);
});

describe('a setting that a session may change', () => {
  test('is classed in settings.ts, once', async () => {
    const all = Object.values(settings).flatMap(({ names }) => names);
    expect(all.filter((name, at) => all.indexOf(name) !== at)).toEqual([]);
    await shop.sql`load 'plpgsql'`;
    const found = await shop.sql.begin(async (tx) => {
      await tx`load 'plpgsql'`;
      return tx<{ name: string; context: string }[]>`
        select name, context from pg_settings where context in ('user', 'superuser')`;
    });
    expect(found.filter(({ name }) => !all.includes(name)).map(({ name }) => name)).toEqual([]);
    const misplaced = found.filter(
      ({ name, context }) =>
        (context === 'superuser') !== (settings['for superusers']?.names.includes(name) ?? false),
    );
    expect(misplaced).toEqual([]);
  });

  test('of pgacme itself is classed there, too', async () => {
    const folders = ['sql/', 'src/'];
    const found = new Set<string>();
    for (const folder of folders) {
      const root = new URL(`../../${folder}`, import.meta.url);
      for (const file of await readdir(root, { recursive: true })) {
        if (!/\.(sql|ts)$/.test(file)) continue;
        const text = await readFile(new URL(file, root), 'utf8');
        for (const [, name] of text.matchAll(/(?:current_setting|set_config)\('(acme\w*\.\w+)'/g)) {
          if (name !== undefined) found.add(name);
        }
      }
    }
    expect([...found].sort()).toEqual(Object.keys(ownSettings).sort());
  });

  test('that only superusers set was granted to nobody', async () => {
    expect(await shop.sql`select parname from pg_parameter_acl`).toEqual([]);
  });
});

/** What an application does, as a new tenant, and what is stored by it. */
async function stored(login: string, hostile: Record<string, string>): Promise<unknown> {
  const app = await shop.database.as('acme_app', { login, max: 1 });
  const { role } = await shop.database.login('acme_app', { login });
  for (const [name, value] of Object.entries(hostile)) {
    await app`select set_config(${name}, ${value}, false)`;
  }
  const [csr] = await app<[{ id: string }]>`
    insert into acme.csr (pem, ref, labels, validity, validity_start, priority)
    values (${PEM}, ${"a\\b'c"}, ${app.json({ n: 1.1, t: '\\ ä' })}, '90 days 02:03:04', '-00:10', -3) returning id`;
  await app`select acme.request(${PEM}, on_duplicate := 'renew')`;
  await app`select acme.retry(${csr.id})`;
  await app`select acme.explain(${csr.id})`;
  await app`select acme.cancel(${csr.id})`;
  await shop.attend(csr.id);
  const rows = await shop.sql`
    select to_jsonb(c) - '{id,tenant,created_at,inserted_xid,touched_xid}'::text[] as csr,
           to_jsonb(s) - '{csr_id,tenant,created_at,updated_at,queued_at}'::text[] as state,
           (select jsonb_agg(to_jsonb(e) - '{id,xid,at,tenant,csr_id}'::text[] order by e.id) from acme.event e where e.csr_id = c.id) as events
      from acme.csr c
      join acme_private.csr_state s on s.csr_id = c.id
     where c.tenant = ${role}`;
  expect(rows).toHaveLength(1);
  return rows[0];
}

test('what is stored is the same whatever a session says of how values look', async () => {
  const usual = await stored('usual', {});
  const hostile = {
    DateStyle: 'SQL, DMY',
    IntervalStyle: 'sql_standard',
    TimeZone: 'Pacific/Kiritimati',
    extra_float_digits: '-15',
    bytea_output: 'escape',
    quote_all_identifiers: 'on',
    standard_conforming_strings: 'off',
    backslash_quote: 'off',
    transform_null_equals: 'on',
    array_nulls: 'off',
    xmlbinary: 'hex',
    xmloption: 'document',
    enable_indexscan: 'off',
    'plpgsql.extra_warnings': 'all',
  };
  expect(await stored('unusual', hostile)).toEqual(usual);
});

describe('a setting of pgacme’s own, set by a tenant', () => {
  test('acme_private.quiet keeps nobody’s work from being woken', async () => {
    const woken = async (login: string, quiet: string) => {
      await shop.clearJobs();
      const app = await shop.database.as('acme_app', { login, max: 1 });
      await app`select set_config('acme_private.quiet', ${quiet}, false)`;
      const [csr] = await app<[{ id: string }]>`
        insert into acme.csr (pem) values (${PEM}) returning id`;
      await app`select acme.retry(${csr.id})`;
      await app`select acme.renew(${csr.id})`;
      await app`select acme.cancel(${csr.id})`;
      return (await shop.jobs()).map(({ task }) => task);
    };
    const usual = await woken('loud', 'off');
    expect(usual).toEqual(['dispatch', 'attend', 'attend', 'attend']);
    expect(await woken('quiet', 'on')).toEqual(usual);
  });

  test('acme_private.known_solver lets no unknown name in', async () => {
    const app = await shop.database.as('acme_app', { login: 'knows', max: 1 });
    await app`select set_config('acme_private.known_solver', 'nowhere', false)`;
    const error = await refusal(app`insert into acme.csr (pem, solver) values (${PEM}, 'nowhere')`);
    expect(error.code).toBe('23503');
  });
});
