import { readdir, readFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { kinds, workColumns } from '../helpers/state/kinds.ts';
import { freshDatabase } from '../helpers/postgres.ts';

/**
 * Statements outside test/helpers/state that write tables of acme_private, by file. The list only gets
 * shorter: a test that needs a state sets it by test/helpers/state.
 */
const exceptions: Record<string, number> = {
  'cli/doctor/accounts.test.ts': 3,
  'cli/doctor/ill.test.ts': 3,
  'cli/status-check.test.ts': 4,
  'cli/status.test.ts': 2,
  'crash/responder.test.ts': 1,
  'e2e/bounds.test.ts': 2,
  'e2e/certificates.test.ts': 1,
  'e2e/lost-key.test.ts': 4,
  'e2e/name-handed-on.test.ts': 1,
  'e2e/preauthorization.test.ts': 1,
  'e2e/release.test.ts': 2,
  'e2e/renewal-window.test.ts': 2,
  'e2e/restored.test.ts': 5,
  'e2e/revocation-faults.test.ts': 3,
  'e2e/revocation.test.ts': 1,
  'e2e/server-lag.test.ts': 2,
  'e2e/slow-server.test.ts': 2,
  'helpers/fuzz/drain.ts': 1,
  'helpers/fuzz/world.ts': 2,
  'sql/attention-session.test.ts': 2,
  'sql/attention.test.ts': 7,
  'sql/certificates.test.ts': 1,
  'sql/changes.test.ts': 1,
  'sql/csr-duplicates.test.ts': 1,
  'sql/dry-run.test.ts': 1,
  'sql/judge-turns.test.ts': 1,
  'sql/liveness.test.ts': 1,
  'sql/migrate.test.ts': 6,
  'sql/name-ownership.test.ts': 9,
  'sql/pinned.test.ts': 1,
  'sql/plans.test.ts': 5,
  'sql/revocation-ends.test.ts': 1,
  'sql/revocation.test.ts': 2,
  'sql/roles.test.ts': 7,
  'sql/shadowed.test.ts': 6,
  'sql/stuck.test.ts': 1,
  'sql/transitions.test.ts': 9,
  'sql/wait.test.ts': 1,
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
