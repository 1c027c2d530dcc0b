import type postgres from 'postgres';
import { expect, test } from 'vitest';
import { freshDatabase } from '../helpers/postgres.ts';
import { type Table, tableOf } from './helpers/generated.ts';

const UPDATE =
  'is not what acme.server_feature says. Write it anew with ' +
  'PGACME_UPDATE_FEATURES=1 npx vitest run test/docs/features.test.ts, and look at the difference.';

test('docs/sql.md lists every feature, and no other', async () => {
  const { sql } = await freshDatabase();
  const rows = await sql<{ feature: string; about: string }[]>`
    select feature, about from acme_private.feature order by position`;
  expectTable(
    'docs/sql.md',
    ['feature', 'what it means'],
    rows.map(({ feature, about }) => [`\`${feature}\``, about]),
  );
});

test("docs/concepts.md shows what is documented about Let's Encrypt and its staging", async () => {
  const { sql } = await freshDatabase();
  const [production, staging] = [
    await said(sql, 'letsencrypt'),
    await said(sql, 'letsencrypt-staging'),
  ];
  expectTable(
    'docs/concepts.md',
    ['feature', 'what it means', "Let's Encrypt", 'staging', 'source, and as of when'],
    production.map((one, i) => {
      const other = staging[i];
      if (other?.feature !== one.feature) throw new Error(`staging has no ${one.feature}`);
      const sources = [...new Set([one.source, other.source])].filter((source) => source !== '');
      return [`\`${one.feature}\``, one.about, one.text, other.text, sources.join(', ')];
    }),
  );
});

function expectTable(document: string, header: readonly string[], rows: Table): void {
  const isUpdate = process.env['PGACME_UPDATE_FEATURES'] === '1';
  const shown = tableOf(document, header, isUpdate ? rows : undefined);
  expect(shown, `The table of ${document} ${UPDATE}`).toEqual(rows);
}

interface Said {
  feature: string;
  about: string;
  text: string;
  source: string;
}

/** What a database in which nobody has spoken to the server yet says about it. */
async function said(sql: postgres.Sql, server: string): Promise<Said[]> {
  const rows = await sql<
    { feature: string; about: string; support: string; value: unknown; source: string }[]
  >`
    select feature, about, support, value, coalesce(source || ' (' || as_of || ')', '') as source
      from acme.server_feature
     where server = ${server}`;
  return rows.map(({ feature, about, support, value, source }) => {
    const more = textOf(value);
    return { feature, about, text: more === '' ? support : `${support}: ${more}`, source };
  });
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'object') return JSON.stringify(value).replace(/^"|"$/g, '');
  if (Array.isArray(value)) return value.map(String).join(', ');
  return Object.entries(value)
    .map(([key, one]) => `${key}: ${Array.isArray(one) ? one.map(String).join(', ') : String(one)}`)
    .join('; ');
}
