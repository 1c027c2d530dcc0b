import { expect, test } from 'vitest';
import { documentTest } from './helpers/document-test.ts';
import { fileText, firstColumn, unique, words } from './helpers/tables.ts';

documentTest('docs/monitoring.md', {
  document: 'README.md',
  upTo: "In your application's own transaction",
});

test('docs/monitoring.md lists every code of acme.attention, and no other', () => {
  const codes = words(
    fileText('sql/api/attention/views.sql'),
    /^ {2}\(\d+, '(\w+)', '(?:warning|critical)/gm,
  );
  expect(firstColumn('docs/monitoring.md', 'code')).toEqual(unique(codes));
});
