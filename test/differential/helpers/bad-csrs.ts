import { generateKeyPairSync } from 'node:crypto';
import { makeCsr } from '../../../src/x509/index.ts';
import { altNames, dns, extension, oid, sequence, tlv } from '../../x509/helpers/der-writer.ts';
import { rawCsr } from '../../x509/helpers/raw-csr.ts';

const rsa = (publicExponent?: number) =>
  generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent });
const named = (...names: Buffer[]): string => rawCsr({ extensions: [altNames(...names)] });
const NAME = dns('bad.one.example');

/** CSRs that are rejected, by what is wrong with them. */
export const BAD: Readonly<Record<string, () => Promise<string> | string>> = {
  'not a csr': () =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${sequence(tlv(2, Buffer.of(5)), tlv(4, 'x'.repeat(60))).toString('base64')}\n-----END CERTIFICATE REQUEST-----`,
  'another signature': async () => {
    const { pem } = await makeCsr({ names: ['aaaa.one.example'] });
    const der = Buffer.from(pem.replace(/-----.*-----|\s/g, ''), 'base64');
    der.write('bbbb', der.indexOf('aaaa.one.example'));
    return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
  },
  'SHA-1': () =>
    rawCsr({
      keys: rsa(),
      algorithm: { id: '1.2.840.113549.1.1.5', hash: 'sha1' },
      extensions: [altNames(NAME)],
    }),
  'exponent 3': () =>
    rawCsr({
      keys: rsa(3),
      algorithm: { id: '1.2.840.113549.1.1.11', hash: 'sha256' },
      extensions: [altNames(NAME)],
    }),
  'P-521': async () => (await makeCsr({ names: ['bad.one.example'], algorithm: 'P-521' })).pem,
  'no names': async () => (await makeCsr({ names: [], commonName: 'bad.one.example' })).pem,
  'another common name': async () =>
    (await makeCsr({ names: ['bad.one.example'], commonName: 'other.one.example' })).pem,
  'too many names': async () =>
    (await makeCsr({ names: Array.from({ length: 101 }, (_, at) => `n${String(at)}.one.example`) }))
      .pem,
  'a name with a space': () => named(dns('a b.one.example')),
  'a U-label': () => named(dns(Buffer.from('bücher.example', 'utf8'))),
  'a public suffix': () => named(dns('co.uk')),
  'an IP address': () => named(tlv(0x87, Buffer.of(192, 0, 2, 1))),
  'an e-mail address': () => named(NAME, tlv(0x81, 'me@one.example')),
  'an extension twice': () => rawCsr({ extensions: [altNames(NAME), altNames(NAME)] }),
  'must-staple': () =>
    rawCsr({
      extensions: [altNames(NAME), extension('1.3.6.1.5.5.7.1.24', sequence(tlv(2, Buffer.of(5))))],
    }),
  'client authentication': () =>
    rawCsr({
      extensions: [altNames(NAME), extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.2')))],
    }),
  'a wildcard': async () => (await makeCsr({ names: ['*.one.example'] })).pem,
};
