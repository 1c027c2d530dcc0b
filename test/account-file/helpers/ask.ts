import type { JWK } from 'jose';
import { importAccountKey, newAccount, Server } from '../../../src/acme/index.ts';

/** The account URL that a server has for a key (RFC 8555 §7.3.1); it never makes one. */
export async function accountOfKey(
  ca: { directoryUrl: string; caPem: string },
  privateJwk: JWK,
): Promise<string> {
  const server = new Server({ directoryUrl: ca.directoryUrl, caBundle: ca.caPem });
  try {
    const key = await importAccountKey(privateJwk);
    return (await newAccount(server, key, { onlyReturnExisting: true })).url;
  } finally {
    await server.close();
  }
}
