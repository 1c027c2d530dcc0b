import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Extension, Pkcs10CertificateRequest } from '../../src/x509/crypto.ts';
import { csrDer, judgeCsr, makeCsr, spkiSha256OfJwk, X509Error } from '../../src/x509/index.ts';
import { writePem } from '../../src/x509/pem.ts';
import { spkiHash } from '../../src/x509/public-key.ts';
import { csrOf } from './helpers/chain.ts';
import {
  altNames,
  bitString,
  dns,
  extension,
  integer,
  nothing,
  octets,
  oid,
  sequence,
  set,
  tlv,
} from './helpers/der-writer.ts';
import { codes, reasons, rules } from './helpers/judged.ts';
import { ecKeys, extensionRequest, rawCsr, rawCsrDer } from './helpers/raw-csr.ts';

const extensions = [altNames(dns('example.com'))];
const rsaKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });
const sha256WithRsa = { id: '1.2.840.113549.1.1.11', hash: 'sha256' };

describe('a good CSR', () => {
  test.each(['RSA-2048', 'RSA-3072', 'P-256', 'P-384'] as const)(
    'with a %s key passes',
    async (type) => {
      const { pem } = await csrOf(type);
      const verdict = await judgeCsr(pem, rules);
      if (!verdict.ok) throw new Error(JSON.stringify(verdict.reasons));
      const csr = new Pkcs10CertificateRequest(pem);
      expect(verdict.csr.keyType).toBe(type);
      expect(verdict.csr.identifiers).toEqual(['example.com']);
      expect(verdict.csr.spkiSha256).toEqual(spkiHash(new Uint8Array(csr.publicKey.rawData)));
      expect(Buffer.from(verdict.csr.der)).toEqual(Buffer.from(csr.rawData));
    },
  );

  test('may stand in text, have CRLF line ends, the old label, and other attributes', async () => {
    const { pem } = await csrOf('P-256');
    expect(await codes(`Certificate Request:\n  Data:\n${pem}\n\n`)).toEqual([]);
    expect(await codes(pem.replaceAll('\n', '\r\n'))).toEqual([]);
    expect(await codes(pem.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'))).toEqual(
      [],
    );
    const challenge = sequence(oid('1.2.840.113549.1.9.7'), set(tlv(0x0c, 'secret')));
    expect(
      await codes(rawCsr({ attributes: [challenge, extensionRequest(...extensions)] })),
    ).toEqual([]);
  });
});

describe('key_type_refused names the key and the accepted types', () => {
  const raw = (keys: typeof ecKeys, algorithm?: { id: string; hash: string | null }) =>
    rawCsr({
      keys,
      extensions,
      ...(algorithm ? { algorithm } : {}),
    });

  test.each([
    ['RSA-1024', raw(generateKeyPairSync('rsa', { modulusLength: 1024 }), sha256WithRsa)],
    ['RSA-2047', raw(generateKeyPairSync('rsa', { modulusLength: 2047 }), sha256WithRsa)],
    ['RSA-2056', raw(generateKeyPairSync('rsa', { modulusLength: 2056 }), sha256WithRsa)],
    ['P-521', raw(generateKeyPairSync('ec', { namedCurve: 'P-521' }))],
    ['P-224', raw(generateKeyPairSync('ec', { namedCurve: 'P-224' }))],
    ['secp256k1', raw(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }))],
    ['Ed25519', raw(generateKeyPairSync('ed25519'), { id: '1.3.101.112', hash: null })],
    ['Ed448', raw(generateKeyPairSync('ed448'), { id: '1.3.101.113', hash: null })],
    ['DSA', raw(generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 }))],
    [
      'EC with explicit parameters',
      raw(generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' })),
    ],
  ])('%s', async (type, pem) => {
    const found = await reasons(pem);
    expect(found.map((one) => one.code)).toEqual(['key_type_refused']);
    expect(found[0]?.text).toContain(`${type} is`);
    expect(found[0]?.text).toContain('RSA-2048, RSA-3072, RSA-4096, P-256, P-384');
  });

  test('and the rules may accept others, and fewer', async () => {
    const { pem } = await makeCsr({ names: ['example.com'], algorithm: 'P-521' });
    expect(await codes(pem, { keyTypes: ['P-521'] })).toEqual([]);
    const ed = await makeCsr({ names: ['example.com'], algorithm: 'Ed25519' });
    expect(await codes(ed.pem, { keyTypes: ['Ed25519'] })).toEqual([]);
    expect(await codes((await csrOf('P-256')).pem, { keyTypes: ['RSA-2048'] })).toEqual([
      'key_type_refused',
    ]);
  });

  test('a key whose signature cannot be checked is refused even where its type is accepted', async () => {
    const keys = generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 });
    expect(await codes(raw(keys), { keyTypes: ['DSA'] })).toEqual(['key_type_refused']);
  });
});

describe('key_invalid', () => {
  const spkiOf = (n: Buffer, e: Buffer, parameters = nothing) =>
    sequence(
      sequence(oid('1.2.840.113549.1.1.1'), parameters),
      bitString(sequence(integer(n), integer(e))),
    );
  const n = Buffer.from(rsaKeys.publicKey.export({ format: 'jwk' }).n ?? '', 'base64url');

  test('an RSA key with exponent 3 is refused, and its signature still checked', async () => {
    const keys = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
    const found = await reasons(rawCsr({ keys, algorithm: sha256WithRsa, extensions }));
    expect(found.map((one) => one.code)).toEqual(['key_invalid']);
    expect(found[0]?.text).toContain('exponent is 3');
  });

  test.each([
    ['an even exponent', spkiOf(n, Buffer.of(1, 0, 0))],
    [
      'an even modulus',
      spkiOf(Buffer.concat([n.subarray(0, -1), Buffer.of(2)]), Buffer.of(1, 0, 1)),
    ],
    ['no NULL parameters', spkiOf(n, Buffer.of(1, 0, 1), Buffer.alloc(0))],
  ])('an RSA key with %s', async (_, spki) => {
    const pem = rawCsr({ keys: rsaKeys, algorithm: sha256WithRsa, spki, extensions });
    expect(await codes(pem)).toContain('key_invalid');
  });

  test('a compressed point, which would give the key a second hash', async () => {
    const spki = ecKeys.publicKey.export({ type: 'spki', format: 'der' });
    const x = spki.subarray(-64, -32);
    const compressed = Buffer.concat([Buffer.of(2 + ((spki.at(-1) ?? 0) & 1)), x]);
    const algorithm = sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7'));
    const found = await reasons(
      rawCsr({ spki: sequence(algorithm, bitString(compressed)), extensions }),
    );
    expect(found.map((one) => one.code)).toEqual(['key_invalid']);
    expect(found[0]?.text).toContain('uncompressed');
  });

  test('a point that is not on the curve', async () => {
    const spki = Buffer.from(ecKeys.publicKey.export({ type: 'spki', format: 'der' }));
    spki[spki.length - 1] = (spki.at(-1) ?? 0) ^ 1;
    expect(await codes(rawCsr({ spki, extensions }))).toEqual(['key_invalid']);
  });

  test('an enormous RSA key is refused without being used', async () => {
    const spki = spkiOf(Buffer.alloc(40_000, 0xff), Buffer.of(1, 0, 1));
    const pem = rawCsr({ keys: rsaKeys, algorithm: sha256WithRsa, spki, extensions });
    const found = await reasons(pem);
    expect(found.map((one) => one.code)).toEqual(['key_type_refused']);
    expect(found[0]?.text).toContain('RSA-320000');
  });
});

describe('the signature', () => {
  test.each(['P-256', 'P-384', 'RSA-2048'] as const)(
    'a flipped bit in a %s one is bad_signature',
    async (type) => {
      const der = Buffer.from(csrDer((await csrOf(type)).pem));
      der[der.length - 3] = (der.at(-3) ?? 0) ^ 1;
      expect(await codes(writePem('CERTIFICATE REQUEST', der))).toEqual(['bad_signature']);
    },
  );

  test('of another key is bad_signature', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const spki = other.export({ type: 'spki', format: 'der' });
    expect(await codes(rawCsr({ spki, extensions }))).toEqual(['bad_signature']);
  });

  test('of another kind of key is bad_signature', async () => {
    const spki = ecKeys.publicKey.export({ type: 'spki', format: 'der' });
    const pem = rawCsr({ keys: rsaKeys, algorithm: sha256WithRsa, spki, extensions });
    expect(await codes(pem)).toEqual(['bad_signature']);
  });

  test('that is good, under the name of an algorithm for another kind of key, is bad_signature', async () => {
    expect(await codes(rawCsr({ algorithm: sha256WithRsa, extensions }))).toEqual([
      'bad_signature',
    ]);
  });

  test('over other names is bad_signature', async () => {
    const der = rawCsrDer({ extensions });
    const changed = Buffer.from(
      der.toString('latin1').replace('example.com', 'example.org'),
      'latin1',
    );
    expect(await codes(writePem('CERTIFICATE REQUEST', changed))).toEqual(['bad_signature']);
  });

  test.each([
    ['1.2.840.113549.1.1.5', 'sha1', 'SHA-1 with RSA'],
    ['1.2.840.113549.1.1.4', 'md5', 'MD5 with RSA'],
    ['1.2.840.113549.1.1.10', 'sha256', 'RSASSA-PSS'],
    ['1.2.840.113549.1.1.14', 'sha224', 'algorithm 1.2.840.113549.1.1.14'],
  ])('with %s (%s) is signature_algorithm', async (id, hash, name) => {
    const found = await reasons(rawCsr({ keys: rsaKeys, algorithm: { id, hash }, extensions }));
    expect(found.map((one) => one.code)).toEqual(['signature_algorithm']);
    expect(found[0]?.text).toContain(name);
  });

  test('with parameters, which nothing signs, is signature_algorithm', async () => {
    const algorithm = { ...sha256WithRsa, parameters: tlv(0x04, 'anything') };
    const found = await reasons(rawCsr({ keys: rsaKeys, algorithm, extensions }));
    expect(found.map((one) => one.code)).toEqual(['signature_algorithm']);
    expect(found[0]?.text).toContain('with parameters');
    const none = { ...sha256WithRsa, parameters: Buffer.alloc(0) };
    expect(await codes(rawCsr({ keys: rsaKeys, algorithm: none, extensions }))).toEqual([]);
  });

  test('with SHA-384 and SHA-512 passes', async () => {
    for (const [id, hash] of [
      ['1.2.840.113549.1.1.12', 'sha384'],
      ['1.2.840.113549.1.1.13', 'sha512'],
    ] as const) {
      expect(await codes(rawCsr({ keys: rsaKeys, algorithm: { id, hash }, extensions }))).toEqual(
        [],
      );
    }
  });
});

describe('extensions', () => {
  const asking = (id: string, value: Buffer) => new Extension(id, false, new Uint8Array(value));

  test('the TLS feature extension is must_staple where the server refuses it', async () => {
    const feature = asking('1.3.6.1.5.5.7.1.24', sequence(integer(Buffer.of(5))));
    const { pem } = await makeCsr({ names: ['example.com'], extensions: [feature] });
    expect(await codes(pem, { refusedFeatures: ['must_staple'] })).toEqual(['must_staple']);
    expect(await codes(pem, { refusedFeatures: ['client_auth_eku'] })).toEqual([]);
  });

  test('clientAuth is refused where the server refuses it, serverAuth is not', async () => {
    const usage = (...ids: string[]) => asking('2.5.29.37', sequence(...ids.map(oid)));
    const serverAuth = '1.3.6.1.5.5.7.3.1';
    const clientAuth = '1.3.6.1.5.5.7.3.2';
    const names = ['example.com'];
    const both = await makeCsr({ names, extensions: [usage(serverAuth, clientAuth)] });
    const refusedFeatures = ['client_auth_eku'];
    expect(await codes(both.pem, { refusedFeatures })).toEqual(refusedFeatures);
    expect(await codes(both.pem)).toEqual([]);
    const server = await makeCsr({ names, extensions: [usage(serverAuth)] });
    expect(await codes(server.pem, { refusedFeatures })).toEqual([]);
  });

  test('one that comes twice is duplicate_extension, also from two attributes', async () => {
    const second = altNames(dns('example.org'));
    expect(await codes(rawCsr({ extensions: [...extensions, second] }))).toEqual([
      'duplicate_extension',
    ]);
    const attributes = [extensionRequest(...extensions), extensionRequest(second)];
    expect(await codes(rawCsr({ attributes }))).toEqual(['duplicate_extension']);
  });

  test('unknown ones pass', async () => {
    const unknown = extension('1.3.6.1.4.1.99999.1', octets(Buffer.from('anything')));
    expect(await codes(rawCsr({ extensions: [...extensions, unknown] }))).toEqual([]);
  });
});

describe('account_key', () => {
  test.each(['P-256', 'RSA-2048'] as const)(
    'a %s CSR with the key of an account is refused',
    async (type) => {
      const { pem, keyPem } = await makeCsr({ names: ['example.com'], algorithm: type });
      const jwk = createPublicKey(createPrivateKey(keyPem)).export({ format: 'jwk' });
      const accountKeySpkis = [Buffer.alloc(32), await spkiSha256OfJwk(jwk)];
      expect(await codes(pem, { accountKeySpkis })).toEqual(['account_key']);
      expect(await codes(pem, { accountKeySpkis: [Buffer.alloc(32)] })).toEqual([]);
    },
  );

  test('private members of a JWK do not matter, and what is no key throws ERR_X509_KEY', async () => {
    const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ]);
    const publicJwk = await webcrypto.subtle.exportKey('jwk', keys.publicKey);
    const privateJwk = await webcrypto.subtle.exportKey('jwk', keys.privateKey);
    expect(await spkiSha256OfJwk(privateJwk)).toEqual(await spkiSha256OfJwk(publicJwk));
    await expect(spkiSha256OfJwk({ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' })).rejects.toThrow(
      X509Error,
    );
    await expect(spkiSha256OfJwk({ kty: 'oct' })).rejects.toMatchObject({
      code: 'ERR_X509_KEY',
    });
  });
});

test('all reasons come at once', async () => {
  const keys = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const spki = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const pem = rawCsr({
    keys,
    spki: spki.export({ type: 'spki', format: 'der' }),
    algorithm: sha256WithRsa,
    commonNames: ['other.example.com'],
    extensions: [
      altNames(
        dns('a_b.example.com'),
        dns('co.uk'),
        dns(Buffer.from('é.example')),
        tlv(0x81, 'a@b'),
      ),
      extension('1.3.6.1.5.5.7.1.24', sequence(integer(Buffer.of(5)))),
      extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.2'))),
    ],
  });
  const accountKeySpkis = [spkiHash(spki.export({ type: 'spki', format: 'der' }))];
  const refusedFeatures = ['must_staple', 'client_auth_eku'];
  expect((await codes(pem, { maxNames: 2, accountKeySpkis, refusedFeatures })).sort()).toEqual([
    'account_key',
    'bad_signature',
    'client_auth_eku',
    'cn_not_in_san',
    'key_type_refused',
    'must_staple',
    'name_invalid',
    'name_not_ascii',
    'public_suffix',
    'too_many_names',
    'unsupported_san',
  ]);
});
