import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Block, readDocument } from './helpers/document.ts';
import { folderText, words } from './helpers/tables.ts';

const ROOT = new URL('../../', import.meta.url);
const SESSION = /^(sql|psql|sh|bash|shell|console)$/;

test('every block of SQL or shell in the documentation is run by a test, or says why not', () => {
  const followed = words(folderText('test/docs', '.test.ts'), /^documentTest\(\s*'([^']+)'/gm);
  const others = documents().filter((name) => !followed.includes(name));
  expect(documents()).toEqual(expect.arrayContaining(['README.md', 'docs/sql.md', ...followed]));
  const sessions = others.flatMap((name) => sessionsOf(name));
  const skipped = sessions.flatMap(({ place, skip }) =>
    skip === undefined ? [] : [`  ${place}: ${skip}`],
  );
  process.stdout.write(`Not run in documents without a test:\n${skipped.join('\n')}\n`);
  const without = sessions.filter(({ skip }) => skip === undefined).map(({ place }) => place);
  expect(without, 'Blocks that no test runs, without a <!-- skip: the reason -->').toEqual([]);
});

/** All Markdown that is written for readers. */
function documents(): string[] {
  const below = (folder: string) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: 'utf8' }).map(
      (name) => `${folder}${name}`,
    );
  return [...readdirSync(ROOT), ...below('docs/'), ...below('examples/')]
    .filter((name) => name.endsWith('.md'))
    .sort();
}

function sessionsOf(name: string): { place: string; skip: Block['skip'] }[] {
  return readDocument(new URL(name, ROOT)).flatMap((item) =>
    item.kind === 'block' && SESSION.test(item.block.language)
      ? [{ place: `${name}:${String(item.block.line)}`, skip: item.block.skip }]
      : [],
  );
}
