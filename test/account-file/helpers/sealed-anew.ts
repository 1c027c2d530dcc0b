import { compactDecrypt, CompactEncrypt } from 'jose';

/** What is sealed in an export, as JSON. */
export interface Content {
  directory_url: unknown;
  account_url: unknown;
  exported_at: unknown;
  server: Record<string, unknown>;
  account: Record<string, unknown>;
  private_jwk: Record<string, unknown>;
  records: unknown;
}

/** An export whose sealed part somebody with the passphrase changed, and the label with it. */
export async function sealedAnew(
  text: string,
  passphrase: string,
  change: (content: Content) => void,
): Promise<string> {
  const file = JSON.parse(text) as Record<string, unknown>;
  const key = new TextEncoder().encode(passphrase);
  const { plaintext, protectedHeader } = await compactDecrypt(String(file['sealed']), key, {
    keyManagementAlgorithms: ['PBES2-HS512+A256KW'],
    maxPBES2Count: 1e6,
  });
  const content = JSON.parse(new TextDecoder().decode(plaintext)) as Content;
  change(content);
  const sealed = await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(content)))
    .setProtectedHeader({ alg: protectedHeader.alg, enc: protectedHeader.enc })
    .setKeyManagementParameters({ p2c: 210_000 })
    .encrypt(key);
  const { directory_url, account_url, exported_at } = content;
  return JSON.stringify({ ...file, directory_url, account_url, exported_at, sealed });
}
