import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { sectionsOf, specMap, table } from './helpers/spec-map.ts';

const file = new URL('../../docs/spec-map.md', import.meta.url);
const BEGIN =
  '<!-- what follows is generated: npm run docs:spec-map -->\n<!-- prettier-ignore-start -->';
const END = '<!-- prettier-ignore-end -->';

test('every export of pgacme/acme, types too, cites the section that it implements', async () => {
  const bare = (await specMap()).filter(({ sections }) => sections.length === 0);
  expect(bare.map(({ name }) => name)).toEqual([]);
});

test('every export of pgacme/acme is used by a test', async () => {
  const untested = (await specMap()).filter(({ tests }) => tests.length === 0);
  expect(untested.map(({ name }) => name)).toEqual([]);
});

test('docs/spec-map.md shows each export with its sections and tests as they are', async () => {
  const written = await readFile(file, 'utf8');
  const [before, rest] = [written.split(BEGIN)[0], written.split(END)[1]];
  if (before === undefined || rest === undefined) throw new Error('The marks are gone.');
  const now = `${before}${BEGIN}\n\n${table(await specMap())}\n\n${END}${rest}`;
  if (process.env['PGACME_UPDATE_SPEC_MAP'] === '1') await writeFile(file, now);
  expect(
    now,
    'docs/spec-map.md is not what src/acme and the tests have; write it anew with npm run docs:spec-map.',
  ).toBe(await readFile(file, 'utf8'));
});

test('a section belongs to the text that is named before it', () => {
  expect(
    sectionsOf('Makes (RFC 8555 §7.3, §7.3.1; draft-ietf-acme-profiles) as RFC 9773 §4 has it'),
  ).toEqual(['RFC 8555 §7.3', 'RFC 8555 §7.3.1', 'draft-ietf-acme-profiles', 'RFC 9773 §4']);
  expect(sectionsOf('of draft-ietf-acme-dns-account-label-02 §3')).toEqual([
    'draft-ietf-acme-dns-account-label-02 §3',
  ]);
  expect(sectionsOf('RFC 9457, and nothing of §')).toEqual([]);
});
