import { createPrivateKey, type KeyObject } from 'node:crypto';
import type { JWK } from 'jose';
import { type JsonObject, jsonObject } from './json.ts';

/** One file of a folder, by what it holds. */
export type Found = { path: string } & (
  | { kind: 'json'; object: JsonObject }
  | { kind: 'jwk'; jwk: JWK }
  | { kind: 'pem-key'; jwk: JWK }
  | { kind: 'locked-key' }
  | { kind: 'damaged-key' }
  /** Of a type that has no JWK. */
  | { kind: 'other-key'; type: string }
  | { kind: 'shell'; values: ReadonlyMap<string, string> }
  | { kind: 'unknown' }
);

/** What a file is, by its content alone. */
export function foundIn(path: string, text: string): Found {
  if (text.includes('PRIVATE KEY-----')) return { path, ...pemKey(text) };
  const object = jsonObject(text);
  if (object !== undefined) {
    const isKey = typeof object['kty'] === 'string' && typeof object['d'] === 'string';
    return isKey ? { path, kind: 'jwk', jwk: object } : { path, kind: 'json', object };
  }
  const values = shellValues(text);
  return values.size > 0 ? { path, kind: 'shell', values } : { path, kind: 'unknown' };
}

function pemKey(
  text: string,
):
  | { kind: 'pem-key'; jwk: JWK }
  | { kind: 'other-key'; type: string }
  | { kind: 'locked-key' | 'damaged-key' } {
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    return { kind: /ENCRYPTED/.test(text) ? 'locked-key' : 'damaged-key' };
  }
  try {
    return { kind: 'pem-key', jwk: key.export({ format: 'jwk' }) };
  } catch {
    return { kind: 'other-key', type: key.asymmetricKeyType ?? 'unknown' };
  }
}

/** `NAME='value'` lines, as acme.sh writes its configuration. Nothing is evaluated. */
function shellValues(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, quoted, plain] =
      /^([A-Z][A-Z0-9_]*)=(?:'([^']*)'|([^\s'"]*))\s*$/.exec(line) ?? [];
    if (name !== undefined) values.set(name, quoted ?? plain ?? '');
  }
  return values;
}
