import { readFile } from 'node:fs/promises';
import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { freshDatabase } from '../helpers/postgres.ts';

interface Drawing {
  /** `from --> to`, without the entry. */
  edges: string[];
  entries: string[];
  /** The states that have a sentence of their own. */
  told: string[];
}

let sql: postgres.Sql;
let document: string;
let drawings: Map<string, Drawing>;

beforeAll(async () => {
  ({ sql } = await freshDatabase());
  document = await readFile(new URL('../../docs/state-machine.md', import.meta.url), 'utf8');
  drawings = readDrawings(document);
});

/** The sections of the document that have a drawing, by their heading: the kind of row. */
function readDrawings(markdown: string): Map<string, Drawing> {
  const found = new Map<string, Drawing>();
  for (const section of markdown.split(/^## /m).slice(1)) {
    const kind = section.slice(0, section.indexOf('\n'));
    const drawing = /```mermaid\nstateDiagram-v2\n([\s\S]*?)```/.exec(section)?.[1];
    if (drawing === undefined) throw new Error(`The section ${kind} has no drawing.`);
    const lines = drawing
      .trim()
      .split('\n')
      .map((line) => line.trim());
    const isEntry = (line: string) => line.startsWith('[*] --> ');
    found.set(kind, {
      edges: lines.filter((line) => !isEntry(line)).sort(),
      entries: lines.filter(isEntry).map((line) => line.slice('[*] --> '.length)),
      told: [...section.matchAll(/^- \*\*(\w+)\*\*: ./gm)].map((match) => match[1] ?? ''),
    });
  }
  return found;
}

const kinds = ['csr', 'order', 'authorization', 'challenge', 'record', 'certificate', 'account'];

test('the document has a drawing of each kind of row that has states', async () => {
  const rows = await sql<{ kind: string }[]>`select distinct kind from acme_private.transition`;
  expect(rows.map(({ kind }) => kind).sort()).toEqual([...kinds].sort());
  expect([...drawings.keys()].sort()).toEqual([...kinds].sort());
});

describe.each(kinds)('%s', (kind) => {
  const table = kind === 'csr' || kind === 'account' ? `${kind}_state` : kind;

  test('has exactly the arrows of acme_private.transition', async () => {
    const rows = await sql<{ edge: string }[]>`
      select from_state || ' --> ' || to_state as edge from acme_private.transition where kind = ${kind}`;
    expect(drawings.get(kind)?.edges).toEqual(rows.map(({ edge }) => edge).sort());
  });

  test('has a sentence for each state that the check of its table allows', async () => {
    const [check] = await sql<[{ definition: string; first: string }]>`
      select pg_get_constraintdef(c.oid) as definition, pg_get_expr(d.adbin, d.adrelid) as first
        from pg_constraint c
        join pg_attribute a on a.attrelid = c.conrelid and a.attname = 'state'
        join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where c.conrelid = ${`acme_private."${table}"`}::regclass
         and c.conname = ${`${kind}_state_is_known`}`;
    const states = [...check.definition.matchAll(/'(\w+)'::text/g)].map((match) => match[1] ?? '');
    expect(states.length).toBeGreaterThan(1);
    const drawing = drawings.get(kind);
    expect([...new Set(drawing?.told)].sort()).toEqual(
      [...new Set(kind === 'csr' ? [...states, 'paused', 'limited'] : states)].sort(),
    );
    expect(drawing?.entries).toContain(check.first.replace(/^'(\w+)'.*$/, '$1'));
  });

  test('has a trigger that refuses every other change, also to a superuser', async () => {
    const triggers = await sql`
      select from pg_trigger
       where tgrelid = ${`acme_private."${table}"`}::regclass
         and tgname = '_200_transition'
         and tgenabled = 'O'
         and tgargs = ${Buffer.from(`${kind}\0`)}`;
    expect(triggers).toHaveLength(1);
  });
});

test('each step of the map serves a state that exists, and is a task of the queue', async () => {
  const strangers = await sql`
    select m.*
      from acme_private.step m
     where not exists (select from acme_private.transition t where t.kind = m.kind and m.state in (t.from_state, t.to_state))
        or not exists (select from acme_worker._private_tasks q where q.identifier = m.step)`;
  expect(strangers).toEqual([]);
});
