import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const SRC = new URL('../../src/', import.meta.url);

test('steps and commands ask a problem what it is, and do not compare its status with 429 or 500', () => {
  const files = ['tasks', 'cli'].flatMap((folder) =>
    readdirSync(new URL(folder, SRC), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  );
  expect(files).toContain('tasks/account/update.ts');
  const lines = files.flatMap((file) =>
    readFileSync(new URL(file, SRC), 'utf8')
      .split('\n')
      .filter((line) => /\bstatus\b.*[<>=]=?=? ?(?:429|500)\b|\berror\.type [!=]== '/.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );
  // An answer without a problem document has a status alone.
  expect(lines).toEqual(['tasks/outcome.ts: if (error.status === 429) {']);
});
