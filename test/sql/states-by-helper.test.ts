import { readdir, readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { freshDatabase } from '../helpers/postgres.ts';
import { kinds, workColumns } from '../helpers/state/kinds.ts';

/**
 * Statements outside test/helpers/state that write tables of acme_private, by file. The list only gets
 * shorter: a test that needs a state sets it by test/helpers/state.
 */
const exceptions: Record<string, number> = {
  // Each is about what the table itself allows, or refuses to a role.
  'sql/pinned.test.ts': 1,
  'sql/roles.test.ts': 7,
  'sql/transitions.test.ts': 9,
  // Thousands of rows in one statement.
  'sql/changes.test.ts': 1,
  'sql/plans.test.ts': 5,
  'sql/stuck.test.ts': 1,
  // Not converted yet.
  'e2e/features.test.ts': 1,
  'sql/attention.test.ts': 4,
  'sql/liveness.test.ts': 1,
};

const WRITES =
  /\b(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?"?acme_private"?\s*\./gi;

let found: Record<string, number>;

beforeAll(async () => {
  const root = new URL('../', import.meta.url);
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith('.ts'));
  expect(files.length).toBeGreaterThan(150);
  const counted = await Promise.all(
    files
      .filter((file) => !file.startsWith('helpers/state/'))
      .map(async (file) => {
        const source = await readFile(new URL(file, root), 'utf8');
        return [file, source.match(WRITES)?.length ?? 0] as const;
      }),
  );
  found = Object.fromEntries(counted.filter(([, count]) => count > 0).sort());
});

test('tests write the tables of acme_private by test/helpers/state alone', () => {
  expect(found).toEqual(exceptions);
});

test('each column that the helper sets is in its table', async () => {
  const { sql } = await freshDatabase();
  const rows = await sql<{ name: string }[]>`
    select table_name || '.' || column_name as name from information_schema.columns where table_schema = 'acme_private'`;
  const there = new Set(rows.map(({ name }) => name));
  const named = Object.values(kinds).flatMap(({ table, key, columns }) =>
    [key, ...columns].map((column) => `${table}.${column}`),
  );
  expect(named.filter((name) => !there.has(name))).toEqual([]);
  const ofSteps = workColumns.map((column) => `csr_state.${column}`);
  expect(ofSteps.filter((name) => !there.has(name))).toEqual([]);
});
