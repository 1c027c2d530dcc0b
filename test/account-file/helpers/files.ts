import { generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { removeFolder } from '../../../src/local/os-user.ts';
import { testFolder } from '../../helpers/sweep.ts';

/** Writes files (by path below it) into a folder of its own, removed after the test. */
export async function folderOf(files: Record<string, string | object>): Promise<string> {
  const root = await testFolder('account-files');
  onTestFinished(() => removeFolder(root));
  for (const [path, content] of Object.entries(files)) {
    const file = join(root, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return root;
}

/** A fresh EC key in the forms that clients keep. */
export function ecKey(): { jwk: JsonWebKey; sec1: string; pkcs8: string; key: KeyObject } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    key: privateKey,
    jwk: privateKey.export({ format: 'jwk' }),
    sec1: String(privateKey.export({ format: 'pem', type: 'sec1' })),
    pkcs8: String(privateKey.export({ format: 'pem', type: 'pkcs8' })),
  };
}
