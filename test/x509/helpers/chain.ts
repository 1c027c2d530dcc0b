import { KeyObject, sign, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '../../../src/x509/crypto.ts';
import { DerReader, Tag } from '../../../src/x509/der.ts';
import { type MakeAlgorithm, makeCsr } from '../../../src/x509/index.ts';
import { writePem } from '../../../src/x509/pem.ts';
import { bitString, sequence, tlv } from './der-writer.ts';

const usages: webcrypto.KeyUsage[] = ['sign', 'verify'];

const generators = {
  ec: () => webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, usages),
  rsa: () =>
    webcrypto.subtle.generateKey(
      {
        name: 'RSASSA-PKCS1-v1_5',
        hash: 'SHA-256',
        modulusLength: 2048,
        publicExponent: Uint8Array.of(1, 0, 1),
      },
      true,
      usages,
    ),
};

/** A CA that signs what it is given, right or wrong. */
export interface TestCa {
  /** Issues a leaf for the CSR's key; `san` is the DER of a subjectAltName value instead of names. */
  issue(leaf: {
    csrPem: string;
    names: string[];
    san?: Buffer;
    extra?: Extension[];
    notBefore?: string;
    notAfter?: string;
  }): Promise<string>;
  /** PEM of the intermediate and of the root. */
  intermediate: string;
  root: string;
  /** PEM of the intermediate's key under another name: signatures fit, names do not. */
  renamed: string;
}

const days = (count: number): Date => new Date(Date.now() + count * 86_400_000);

/** What is odd about a CA. */
export interface Oddities {
  /** The bytes of every serial number. */
  serial?: Buffer;
  ends?: { intermediate?: string; root?: string };
}

/** Makes a root, an intermediate below it, and what issues with the intermediate. */
export async function testCa(
  kind: keyof typeof generators,
  name = 'Test',
  { serial, ends = {} }: Oddities = {},
): Promise<TestCa> {
  const [rootKeys, keys] = await Promise.all([generators[kind](), generators[kind]()]);
  const signingAlgorithm = { name: rootKeys.privateKey.algorithm.name, hash: 'SHA-256' };
  const notBefore = days(-100);
  const ca = [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
  ];
  const pem = (certificate: X509Certificate, key: webcrypto.CryptoKey) =>
    serial === undefined
      ? `${certificate.toString('pem')}\n`
      : withSerial(Buffer.from(certificate.rawData), serial, key);
  const root = await X509CertificateGenerator.createSelfSigned({
    name: [{ O: [name] }, { CN: [`${name} Root`] }],
    keys: rootKeys,
    notBefore,
    notAfter: ends.root === undefined ? days(365) : new Date(ends.root),
    signingAlgorithm,
    extensions: ca,
  });
  const sign = (commonName: string) =>
    X509CertificateGenerator.create({
      subject: [{ O: [name] }, { CN: [commonName] }],
      issuer: root.subjectName,
      publicKey: keys.publicKey,
      signingKey: rootKeys.privateKey,
      notBefore,
      notAfter: ends.intermediate === undefined ? days(30 * 365) : new Date(ends.intermediate),
      signingAlgorithm,
      extensions: ca,
    });
  const intermediate = await sign(`${name} Intermediate`);
  const renamed = await sign(`${name} Other`);
  return {
    intermediate: pem(intermediate, rootKeys.privateKey),
    root: pem(root, rootKeys.privateKey),
    renamed: pem(renamed, rootKeys.privateKey),
    async issue({
      csrPem,
      names,
      san,
      extra = [],
      notBefore = '2026-11-23T01:02:03Z',
      notAfter = '2051-02-21T04:05:06Z',
    }) {
      const altNames = san
        ? new Extension('2.5.29.17', false, san)
        : new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value })));
      const leaf = await X509CertificateGenerator.create({
        subject: [],
        issuer: intermediate.subjectName,
        publicKey: new Pkcs10CertificateRequest(csrPem).publicKey,
        signingKey: keys.privateKey,
        serialNumber: '00f1e2d3c4',
        notBefore: new Date(notBefore),
        notAfter: new Date(notAfter),
        signingAlgorithm,
        extensions: [altNames, ...extra],
      });
      return pem(leaf, keys.privateKey);
    },
  };
}

/** The certificate with a serial number that no library would write, signed again. */
function withSerial(der: Buffer, serial: Buffer, key: webcrypto.CryptoKey): string {
  const certificate = new DerReader(der).enter(Tag.sequence, 'the certificate');
  const fields = certificate.enter(Tag.sequence, 'its fields');
  const algorithm = certificate.next(Tag.sequence, 'the algorithm').der;
  const version = fields.any('the version').der;
  fields.next(Tag.integer, 'the serial number');
  const rest: Buffer[] = [];
  while (!fields.done) rest.push(fields.any('a field').der);
  const info = sequence(version, tlv(Tag.integer, serial), ...rest);
  const signature = sign('sha256', info, KeyObject.from(key));
  return writePem('CERTIFICATE', sequence(info, algorithm, bitString(signature)));
}

const made = new Map<string, Promise<{ pem: string; keyPem: string }>>();

/** A CSR of a key type, made once for each file: RSA keys take long. */
export function csrOf(algorithm: MakeAlgorithm, names = ['example.com']): Promise<{ pem: string }> {
  const id = `${algorithm} ${names.join()}`;
  const csr = made.get(id) ?? makeCsr({ names, algorithm });
  made.set(id, csr);
  return csr;
}
