import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  type ExternalAccount,
  externalAccountKey,
  generateAccountKey,
  newAccount,
} from '../../src/acme/index.ts';
import { decoded, jws } from './helpers/jws.ts';
import { json, rawCa } from './helpers/raw-ca.ts';

describe('the text of a MAC key', () => {
  const bytes = Uint8Array.from([251, 255, 254, 0]);

  test.each(['-__-AA', '+//+AA', '-__-AA==', '+//+AA==', '  -__-AA\n'])('%j is read', (text) => {
    expect(Uint8Array.from(externalAccountKey(text))).toEqual(bytes);
  });

  test.each(['', 'geheim!', 'geheim geheim', 'a-b+cdef', 'geheimniss-07', 'abc=d', 'abcd==='])(
    '%j is refused, and not shown',
    (text) => {
      const attempt = () => externalAccountKey(text);
      expect(attempt).toThrow(/^The MAC key of the external account is not base64url; give it/);
      expect(attempt).toThrow(expect.objectContaining({ code: 'ERR_ACME_EAB' }));
      expect(attempt).not.toThrow(/geheim|[ab]-?b/);
    },
  );
});

describe('the binding', () => {
  const KEY = Buffer.from('k'.repeat(64));

  async function sent(external: ExternalAccount) {
    const ca = await rawCa();
    ca.on['/new-account'] = json({ status: 'valid' }, 201, { location: '/account/9' });
    const key = await generateAccountKey('ES384');
    await newAccount(ca.server(), key, { externalAccountBinding: external });
    const { payload } = jws(ca.seen.at(-1));
    const { externalAccountBinding } = JSON.parse(payload) as Record<string, unknown>;
    return { url: `${ca.url}/new-account`, key, binding: externalAccountBinding };
  }

  test.each([
    ['HS256', undefined, 'sha256'],
    ['HS384', 'HS384', 'sha384'],
    ['HS512', 'HS512', 'sha512'],
  ] as const)('is a %s MAC over the public key, without a nonce', async (alg, given, hash) => {
    const external = { kid: 'k1', hmacKey: KEY, ...(given ? { alg: given } : {}) };
    const { url, key, binding } = await sent(external);
    const { header, payload } = decoded(binding);
    expect(header).toEqual({ alg, kid: 'k1', url });
    expect(JSON.parse(payload)).toEqual(key.publicJwk);
    const { protected: head, payload: body, signature } = binding as Record<string, string>;
    const mac = createHmac(hash, KEY).update(`${head}.${body}`).digest('base64url');
    expect(signature).toBe(mac);
  });

  test.each([
    ['HS256', 31],
    ['HS384', 47],
    ['HS512', 63],
  ] as const)(
    'with a key too short for %s is refused before anything is sent',
    async (alg, size) => {
      const hmacKey = KEY.subarray(0, size);
      const attempt = sent({ kid: 'k1', hmacKey, alg });
      await expect(attempt).rejects.toMatchObject({ code: 'ERR_ACME_EAB' });
      await expect(attempt).rejects.toThrow(
        `has ${size} bytes, and ${alg} needs ${size + 1} or more`,
      );
      await expect(attempt).rejects.not.toThrow(/kkk/);
      await sent({ kid: 'k1', hmacKey: KEY.subarray(0, size + 1), alg });
    },
  );

  test.each(['', 'a\0b', 'x'.repeat(501)])('with the key id %j is refused', async (kid) => {
    await expect(sent({ kid, hmacKey: KEY })).rejects.toMatchObject({ code: 'ERR_ACME_EAB' });
  });
});
