import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSecret } from '../../src/cli/secret-input.ts';
import { folderOf } from '../account-file/helpers/files.ts';
import { cli } from './cli.ts';

const SENTENCE =
  'is not text in UTF-8, so that it cannot be told from others like it. Give one line of text; one can be made with: openssl rand -base64 32';

test('a secret that is not UTF-8 is refused, and not read as another one', async () => {
  const folder = await folderOf({
    'text.txt': ' Größe der Brücke \r\n',
    'marked.txt': '\ufeffsecret\n',
  });
  const bytes = join(folder, 'bytes.txt');
  const utf16 = join(folder, 'utf16.txt');
  await writeFile(bytes, Buffer.from([0xff, 0xfe, 0x80, ...Buffer.from('twelve characters')]));
  await writeFile(utf16, Buffer.from('\ufeffcorrect horse battery\r\n', 'utf16le'));
  for (const file of [bytes, utf16]) {
    await expect(readSecret(file, 'The passphrase')).rejects.toMatchObject({
      code: 'ERR_CONFIG',
      message: `The passphrase (${file}) ${SENTENCE}`,
    });
  }
  expect(await readSecret(join(folder, 'text.txt'), 'The passphrase')).toBe('Größe der Brücke');
  expect(await readSecret(join(folder, 'marked.txt'), 'The passphrase')).toBe('secret');
});

test('an export does not begin with such a passphrase', async () => {
  const folder = await folderOf({});
  const file = join(folder, 'passphrase.txt');
  await writeFile(file, Buffer.from([0xff, ...randomBytes(32)]));
  const out = join(folder, 'main.json');
  const { code, stdout, stderr } = await cli(
    ['account', 'export', 'main', '--out', out, '--passphrase-file', file],
    {
      DATABASE_URL: 'postgres://app@127.0.0.1:1/shop',
      PGACME_SECRET_KEY: randomBytes(32).toString('base64'),
    },
  );
  expect({ code, stdout, stderr }).toEqual({
    code: 2,
    stdout: '',
    stderr: `The passphrase (${file}) ${SENTENCE}\n`,
  });
});
