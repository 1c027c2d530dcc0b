import { createHash, generateKeyPairSync } from 'node:crypto';
import { flattenedVerify, importJWK, type JWK } from 'jose';
import { expect, test } from 'vitest';
import {
  AcmeError,
  generateAccountKey,
  importAccountKey,
  keyAuthorization,
} from '../../src/acme/index.ts';
import { signedBody } from '../../src/acme/jws.ts';
import { privateMembers, thumbprintOf } from '../../src/acme/key.ts';

// The key of RFC 7515 appendix A.3.
const PRIVATE = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI',
};

// One whose x begins with a zero byte, as one key in 256 has it.
const WITH_ZERO = {
  kty: 'EC',
  crv: 'P-256',
  x: 'AAk63n5dxCakJSTbSqD5yCmwRI0Elh1ZgcNUyjeZRuw',
  y: 'him-1xT1GJnQwqjsfbu6F_zkLxkhiBdB7PYBDzo1VKA',
  d: 'KPRbFxd-XVJ6rlsDHXxb-yd12Lle5S884F5-gbS1E5g',
};

test('the thumbprint is the one of RFC 7638 §3.1', async () => {
  const jwk = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
    alg: 'RS256',
    kid: '2011-04-29',
  };
  expect(await thumbprintOf(jwk)).toBe('NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
});

test('an imported key shows only public members', async () => {
  const key = await importAccountKey({ ...PRIVATE, use: 'enc', key_ops: ['deriveKey'], kid: 'x' });
  const { crv, kty, x, y } = PRIVATE;
  expect(key.alg).toBe('ES256');
  expect(key.publicJwk).toEqual({ kty, crv, x, y });
  expect(key.thumbprint).toBe(
    createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url'),
  );
  expect(JSON.stringify(key)).not.toContain(PRIVATE.d);
});

test('a key has one thumbprint, however its JWK is written (RFC 7518 §6.2.1.2, §6.3.1.1)', async () => {
  const bytes = (text = '') => Buffer.from(text, 'base64url');
  const spellings: ((text?: string) => string)[] = [
    (text) => bytes(text).toString('base64'),
    (text) => `${bytes(text).toString('base64url')}==`,
    (text) => `${text}\n`,
    (text) => Buffer.concat([Buffer.alloc(2), bytes(text)]).toString('base64url'),
    // Without the zeros that a coordinate has to begin with; RSA's numbers begin with none.
    (text) =>
      Buffer.from(
        bytes(text)
          .toString('hex')
          .replace(/^(00)+/, ''),
        'hex',
      ).toString('base64url'),
  ];
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const pairs: [JWK, string[]][] = [
    [WITH_ZERO, ['x', 'y', 'd']],
    [rsa.export({ format: 'jwk' }), ['n', 'e', 'd', 'p']],
  ];
  for (const [jwk, members] of pairs) {
    const key = await importAccountKey(jwk);
    for (const [at, spelt] of spellings.entries()) {
      const changed = Object.entries(jwk).map(([name, value]) => [
        name,
        typeof value === 'string' && members.includes(name) ? spelt(value) : value,
      ]);
      const other: JWK = { ...(Object.fromEntries(changed) as JWK), use: 'sig' };
      const read = await importAccountKey(other);
      expect(read, `spelling ${at}`).toMatchObject({
        thumbprint: key.thumbprint,
        publicJwk: key.publicJwk,
      });
      expect(privateMembers(other), `spelling ${at}`).toEqual(jwk);
    }
  }
});

test('an RSA key under 2048 bits is refused with what to do (RFC 7518 §3.3)', async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  await expect(importAccountKey(privateKey.export({ format: 'jwk' }))).rejects.toMatchObject({
    code: 'ERR_ACME_KEY',
    message:
      'The account key is an RSA key of 1024 bits, and signatures of ACME take 2048 or more (RFC 7518 §3.3); give a longer one, or a P-256 key.',
  });
});

test.each(['ES256', 'ES384', 'RS256'] as const)(
  'a generated %s key signs, and its private JWK imports to the same key',
  async (alg) => {
    const key = await generateAccountKey(alg);
    const again = await importAccountKey(key.privateJwk);
    expect(again).toMatchObject({ alg, thumbprint: key.thumbprint, publicJwk: key.publicJwk });
    const body = await signedBody({ key: again }, 'https://ca.example/x', 'n', '{"a":1}');
    const jws = JSON.parse(body) as { payload: string; signature: string; protected: string };
    const verified = await flattenedVerify(jws, await importJWK(key.publicJwk, alg));
    expect(Buffer.from(verified.payload).toString()).toBe('{"a":1}');
  },
);

test('a signed body has one of jwk and kid, no unprotected header, and no padding', async () => {
  const key = await importAccountKey(PRIVATE);
  const url = 'https://ca.example/x';
  const read = (body: string) => {
    const jws = JSON.parse(body) as Record<string, string>;
    expect(body).not.toContain('=');
    expect(Object.keys(jws).sort()).toEqual(['payload', 'protected', 'signature']);
    const header: unknown = JSON.parse(Buffer.from(jws['protected'] ?? '', 'base64url').toString());
    return { header, payload: jws['payload'] };
  };
  expect(read(await signedBody({ key }, url, 'n1', '{}'))).toEqual({
    header: { alg: 'ES256', nonce: 'n1', url, jwk: key.publicJwk },
    payload: 'e30',
  });
  // POST-as-GET: the payload is empty, not {}.
  expect(read(await signedBody({ key, url: 'https://ca.example/acct/1' }, url, 'n2', ''))).toEqual({
    header: { alg: 'ES256', nonce: 'n2', url, kid: 'https://ca.example/acct/1' },
    payload: '',
  });
});

test('a key that cannot sign for an account is refused with a stable code', async () => {
  const { kty, crv, x, y } = PRIVATE;
  for (const jwk of [
    { kty, crv, x, y },
    { kty: 'oct', k: 'AAAA', d: 'AAAA' },
    { ...PRIVATE, crv: 'P-521' },
    { ...PRIVATE, x: 'AAAA' },
    // A private key, and the public one of another.
    { ...PRIVATE, d: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE' },
    { kty: 'OKP', crv: 'Ed25519', x: 'AAAA', d: 'AAAA' },
  ]) {
    const error: unknown = await importAccountKey(jwk).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(AcmeError);
    expect(error).toMatchObject({ code: 'ERR_ACME_KEY' });
    expect(String(error)).not.toContain(PRIVATE.d);
  }
});

test('a key authorization is token, dot, thumbprint; a token that is no base64url is refused', async () => {
  const key = await importAccountKey(PRIVATE);
  expect(keyAuthorization('tok_en-1', key)).toBe(`tok_en-1.${key.thumbprint}`);
  for (const token of ['', '../x', 'a.b', 'a=', 'ä', 'a\n', 'x'.repeat(513)]) {
    expect(() => keyAuthorization(token, key)).toThrow(
      expect.objectContaining({ code: 'ERR_ACME_BAD_ANSWER' }),
    );
  }
});
