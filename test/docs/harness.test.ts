import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { testFolder } from '../helpers/sweep.ts';
import { difference } from './helpers/compare.ts';
import { type Item, readDocument } from './helpers/document.ts';

const shown = ` id | state  |       not_after
----+--------+------------------------
  1 | issued | 2031-11-23 20:08:01+00
(1 row)`;

test('output that differs only in widths and times is the same', () => {
  const printed = ` id |   state   |          not_after
----+-----------+-------------------------------
  1 | issued    | 2027-01-02 03:04:05.678901+00

(1 row)
`;
  expect(difference(shown, printed)).toBeUndefined();
});

test('another value, a missing row and a row too many are differences', () => {
  expect(difference(shown, shown.replace('issued', 'queued'))).toContain('queued');
  expect(difference(shown, shown.replace(/.*issued.*\n/, ''))).toBeDefined();
  expect(difference(shown, shown.replace('(1 row)', '  2 | issued |\n(1 row)'))).toBeDefined();
  expect(difference(shown, '')).toBeDefined();
});

test('an ellipsis stands for anything in its line, alone for any lines, and for nothing else', () => {
  expect(difference('one … three', 'one two three')).toBeUndefined();
  expect(difference('one …', 'two three')).toBeDefined();
  expect(difference('one\n…\nfour', 'one\ntwo\nthree\nfour')).toBeUndefined();
  expect(difference('one\n…\nfour', 'one\ntwo\nthree')).toBeDefined();
});

test('a block has the notes above it, and the output shown right below it', async () => {
  const items = await read(
    [
      '# Title',
      '<!-- run: as webapp, fails -->',
      '',
      fenced('sql', 'select 1;'),
      '',
      fenced('text', '1'),
      '',
      '<!-- skip: no such program -->',
      fenced('sh', 'ls'),
      'prose',
      fenced('text', 'not its output'),
      '<!-- run: in the background until "ready", to the end -->',
      fenced('sh', 'serve'),
    ].join('\n'),
  );
  expect(items).toMatchObject([
    { kind: 'heading', title: 'Title' },
    { block: { language: 'sql', login: 'webapp', fails: true, shown: '1', skip: undefined } },
    { block: { language: 'sh', fails: false, shown: undefined, skip: 'no such program' } },
    { block: { language: 'text', background: undefined, toTheEnd: false } },
    { block: { language: 'sh', background: 'ready', toTheEnd: true } },
  ]);
});

test('a note that is misspelt, or skips without a reason, is an error', async () => {
  await expect(read(`<!-- ran: as webapp -->\n${fenced('sql', '')}`)).rejects.toThrow('no note');
  await expect(read(`<!-- skip: -->\n${fenced('sql', '')}`)).rejects.toThrow('no note');
  await expect(read(`<!-- run: as  webapp -->\n${fenced('sql', '')}`)).rejects.toThrow('no way');
  await expect(read('```sql\nselect 1;')).rejects.toThrow('no end');
});

function fenced(language: string, text: string): string {
  return `\`\`\`${language}\n${text}\n\`\`\``;
}

async function read(text: string): Promise<Item[]> {
  const dir = await testFolder('document');
  onTestFinished(() => rm(dir, { recursive: true }));
  const file = join(dir, 'page.md');
  await writeFile(file, text);
  return readDocument(pathToFileURL(file));
}
