import { expect, test } from 'vitest';
import { fileText, firstColumn, folderText, unique, words } from './helpers/tables.ts';

test('docs/operations.md lists every environment variable that is read, and no other', () => {
  const read = words(folderText('src', '.ts'), /\benv(?:\.|\[')([A-Z][A-Z0-9_]+)/g);
  expect(firstColumn('docs/operations.md', 'variable')).toEqual(read);
});

test('CONTRIBUTING.md lists every environment variable of the tests, and no other', () => {
  const read = words(
    folderText('test', '.ts'),
    /\benv(?:\.|\[')(PGACME_(?:TEST|UPDATE)_[A-Z0-9_]+)/g,
  );
  expect(firstColumn('CONTRIBUTING.md', 'variable')).toEqual(read);
});

test('what the documents link to is there', () => {
  const broken: string[] = [];
  for (const document of [
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    'docs/sql.md',
    'docs/operations.md',
  ]) {
    const folder = document.includes('/') ? document.replace(/\/[^/]*$/, '/') : '';
    for (const link of words(fileText(document), /\]\((?!https?:)([^)]+)\)/g)) {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document : `${folder}${path}`.replace(/^\w+\/\.\.\//, '');
      if (!isThere(target, anchor)) broken.push(`${document}: ${link}`);
    }
  }
  expect(broken).toEqual([]);
});

function isThere(target: string, anchor: string | undefined): boolean {
  let text: string;
  try {
    text = fileText(target);
  } catch {
    return false;
  }
  // As GitHub makes them: lower case, blanks become hyphens, other punctuation goes.
  const anchors = words(text, /^#+ (.+)$/gm).map((title) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
  return anchor === undefined || unique(anchors).includes(anchor);
}
