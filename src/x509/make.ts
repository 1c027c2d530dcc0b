import { webcrypto } from 'node:crypto';
import type { Extension } from './crypto.ts';
import { X509Error } from './errors.ts';
import { writePem } from './pem.ts';

type CryptoKeyPair = webcrypto.CryptoKeyPair;

/** Algorithms that {@link makeCsr} makes keys of. */
export type MakeAlgorithm = 'P-256' | 'P-384' | 'P-521' | 'Ed25519' | `RSA-${number}`;

/** What {@link makeCsr} makes. */
export interface CsrOptions {
  /** DNS names, as they shall stand in the subjectAltName extension; none means no extension. */
  names: string[];
  commonName?: string;
  /** An extractable key pair to use; else one of `algorithm` is made. */
  key?: CryptoKeyPair;
  /** P-256 unless told otherwise. */
  algorithm?: MakeAlgorithm;
  /** Further extensions to ask for. */
  extensions?: Extension[];
}

/** What {@link makeTlsCertificate} makes. */
export interface TlsOptions {
  names: string[];
  ips?: string[];
  /** Days from now until both certificates end; 90 unless told otherwise. */
  days?: number;
}

const HOUR = 3600_000;

/**
 * Makes a PEM CSR (RFC 2986) and the PKCS #8 PEM of its key, for the quickstart and tests: workers
 * never see private keys. Rejects with X509Error `ERR_X509_KEY` if the key cannot be exported.
 */
export async function makeCsr(options: CsrOptions): Promise<{ pem: string; keyPem: string }> {
  const x509 = await import('./crypto.ts');
  const keys = options.key ?? (await makeKeys(options.algorithm ?? 'P-256'));
  const extensions = [...(options.extensions ?? [])];
  if (options.names.length > 0) extensions.unshift(await altNames(options.names, []));
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: options.commonName === undefined ? [] : [{ CN: [options.commonName] }],
    keys,
    signingAlgorithm: signingAlgorithm(keys),
    extensions,
  });
  const pem = writePem('CERTIFICATE REQUEST', new Uint8Array(csr.rawData));
  return { pem, keyPem: await exportKey(keys) };
}

/**
 * Makes a CA and a TLS server certificate under it, both ECDSA P-256, for servers of our own such as
 * a test CA's. The CA's key is thrown away. All three are PEM; the key is PKCS #8.
 */
export async function makeTlsCertificate(
  options: TlsOptions,
): Promise<{ caPem: string; certPem: string; keyPem: string }> {
  const x509 = await import('./crypto.ts');
  const usage = x509.KeyUsageFlags;
  const [caKeys, keys] = await Promise.all([makeKeys('P-256'), makeKeys('P-256')]);
  // An hour back, so that a clock that is a little slow takes it.
  const notBefore = new Date(Date.now() - HOUR);
  const notAfter = new Date(Date.now() + (options.days ?? 90) * 24 * HOUR);
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    // A name of its own: two CAs of one name and different keys confuse verifiers.
    name: [{ CN: [`pgacme local CA ${webcrypto.randomUUID().slice(0, 8)}`] }],
    keys: caKeys,
    notBefore,
    notAfter,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(usage.keyCertSign | usage.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const leaf = await x509.X509CertificateGenerator.create({
    subject: [{ CN: ['pgacme local server'] }],
    issuer: ca.subjectName,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    notBefore,
    notAfter,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(usage.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      await altNames(options.names, options.ips ?? []),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  return {
    caPem: writePem('CERTIFICATE', new Uint8Array(ca.rawData)),
    certPem: writePem('CERTIFICATE', new Uint8Array(leaf.rawData)),
    keyPem: await exportKey(keys),
  };
}

async function makeKeys(algorithm: MakeAlgorithm): Promise<CryptoKeyPair> {
  const { subtle } = webcrypto;
  const usages: webcrypto.KeyUsage[] = ['sign', 'verify'];
  if (algorithm === 'Ed25519') {
    const keys = await subtle.generateKey({ name: 'Ed25519' }, true, usages);
    if ('privateKey' in keys) return keys;
    throw new X509Error('ERR_X509_KEY', 'WebCrypto made no Ed25519 key pair.');
  }
  if (!algorithm.startsWith('RSA-')) {
    return subtle.generateKey({ name: 'ECDSA', namedCurve: algorithm }, true, usages);
  }
  const rsa = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: Number(algorithm.slice('RSA-'.length)),
    publicExponent: Uint8Array.of(1, 0, 1),
  };
  return subtle.generateKey(rsa, true, usages);
}

function signingAlgorithm(keys: CryptoKeyPair) {
  const { name } = keys.privateKey.algorithm;
  return name === 'Ed25519' ? { name } : { name, hash: 'SHA-256' };
}

async function altNames(names: readonly string[], ips: readonly string[]): Promise<Extension> {
  const { SubjectAlternativeNameExtension } = await import('./crypto.ts');
  return new SubjectAlternativeNameExtension([
    ...names.map((value) => ({ type: 'dns' as const, value })),
    ...ips.map((value) => ({ type: 'ip' as const, value })),
  ]);
}

async function exportKey(keys: CryptoKeyPair): Promise<string> {
  try {
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return writePem('PRIVATE KEY', new Uint8Array(pkcs8));
  } catch (cause) {
    const text = 'The key pair cannot be exported; make it with extractable set to true.';
    throw new X509Error('ERR_X509_KEY', text, { cause });
  }
}
