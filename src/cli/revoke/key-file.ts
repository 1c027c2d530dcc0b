import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type AccountKey, importAccountKey } from '../../acme/index.ts';
import { PgacmeError } from '../../errors.ts';
import type { Leaf } from '../../x509/index.ts';

/**
 * Reads the private key of a certificate (PEM: PKCS #8, SEC 1 or PKCS #1), ready to sign for it. It stays
 * in this process. Throws before anything is sent if it is another key.
 */
export async function readCertificateKey(file: string, leaf: Leaf): Promise<AccountKey> {
  const key = privateKey(await textOf(file), file);
  if (!spkiOf(createPublicKey(key)).equals(spkiOf(leaf.publicKey))) {
    throw new PgacmeError(
      'ERR_KEY_FILE',
      `The key in ${file} is not the key of this certificate (serial ${leaf.serial}); give the one that its CSR was made with. Nothing was sent.`,
    );
  }
  try {
    return await importAccountKey(key.export({ format: 'jwk' }));
  } catch {
    // Without a cause: what goes wrong with a key is nobody's to read.
    throw new PgacmeError(
      'ERR_KEY_FILE',
      `The key in ${file} cannot sign for ACME: it must be RSA of 2048 bits or more, or EC on P-256 or P-384.`,
    );
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new PgacmeError('ERR_KEY_FILE', `The key file ${file} cannot be read (${code}).`);
  }
}

/** The first private key of the text, which may hold more: an EC key often stands below its parameters. */
function privateKey(text: string, file: string): KeyObject {
  const block =
    /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(text)?.[0] ?? '';
  if (block.includes('ENCRYPTED')) {
    throw new PgacmeError(
      'ERR_KEY_FILE',
      `The key in ${file} is encrypted; decrypt it first, for example with openssl pkey.`,
    );
  }
  try {
    return createPrivateKey(block);
  } catch {
    throw new PgacmeError(
      'ERR_KEY_FILE',
      `There is no private key in ${file} that can be read; give a PEM file with one block BEGIN PRIVATE KEY, BEGIN EC PRIVATE KEY or BEGIN RSA PRIVATE KEY.`,
    );
  }
}

function spkiOf(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}
