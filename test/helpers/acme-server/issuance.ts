import { createPublicKey } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { Refusal } from './problem.ts';
import { type Ca, type Certificate, type Identifier, newId, type Order } from './store.ts';

const HOUR = 3_600_000;

/** RFC 8555 §7.4: the request verifies, asks for the order's names, and has a key of its own. */
export async function checkRequest(
  ca: Ca,
  order: Order,
  value: unknown,
): Promise<x509.Pkcs10CertificateRequest> {
  if (typeof value !== 'string' || !/^[\w-]+$/.test(value)) {
    throw new Refusal('malformed', 'csr is not base64url without padding.');
  }
  const request = await parseRequest(Buffer.from(value, 'base64url'));
  const names = requestedNames(request);
  if (
    names.join() !==
    order.identifiers
      .map(({ type, value }) => `${type}:${value}`)
      .sort()
      .join()
  ) {
    throw new Refusal('badCSR', `The request is for ${names.join(', ')}, the order is not.`);
  }
  const spki = Buffer.from(request.publicKey.rawData);
  // RFC 8555 §11.1
  if ([...ca.store.accounts.values()].some((each) => each.spki === spki.toString('base64'))) {
    throw new Refusal('badCSR', "The request's key is an account's key.");
  }
  if (ca.store.blockedKeys.has(spki.toString('base64'))) {
    throw new Refusal('badCSR', 'The key is known to be compromised.');
  }
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw new Refusal('badCSR', 'The RSA key is shorter than 2048 bits.');
  }
  return request;
}

/** Issues what the order asks for, with the flaws that the options want. */
export async function issueFor(
  ca: Ca,
  order: Order,
  request: x509.Pkcs10CertificateRequest,
): Promise<Certificate> {
  const { options } = ca;
  const { notBefore, notAfter } = order.request;
  // An hour ago, as CAs do for clients whose clock is behind.
  const from = notBefore === undefined ? ca.now() - HOUR : Date.parse(notBefore);
  const { leaf, chains } = await ca.authority.issue({
    publicKey: request.publicKey,
    identifiers: order.identifiers,
    notBefore: from,
    notAfter: notAfter === undefined ? from + options.certificateLifetimeMs : Date.parse(notAfter),
    alternates: options.alternateChains,
    flaws: options.certificate,
  });
  const certificate: Certificate = {
    id: newId(),
    account: order.account,
    identifiers: order.identifiers,
    serial: leaf.serialNumber,
    der: Buffer.from(leaf.rawData).toString('base64'),
    spki: Buffer.from(leaf.publicKey.rawData).toString('base64'),
    chains,
    renewalId: renewalId(leaf),
    notBefore: leaf.notBefore.getTime(),
    notAfter: leaf.notAfter.getTime(),
  };
  ca.store.certificates.set(certificate.id, certificate);
  return certificate;
}

async function parseRequest(der: Buffer): Promise<x509.Pkcs10CertificateRequest> {
  try {
    const request = new x509.Pkcs10CertificateRequest(der);
    if (await request.verify()) return request;
  } catch {
    // Not DER, or not a request: refused like a signature that fails.
  }
  throw new Refusal('badCSR', 'The certificate request does not parse or verify.');
}

/** RFC 9773 §4.1: the authority's key identifier and the serial number as in DER, in base64url. */
function renewalId(leaf: x509.X509Certificate): string {
  const key = leaf.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId ?? '';
  return [key, leaf.serialNumber]
    .map((hex) => Buffer.from(hex, 'hex').toString('base64url'))
    .join('.');
}

function requestedNames(request: x509.Pkcs10CertificateRequest): string[] {
  const found = request.getExtension('2.5.29.17');
  const names = new Set(request.subjectName.getField('CN').map((name) => keyOf('dns', name)));
  if (found instanceof x509.SubjectAlternativeNameExtension) {
    for (const { type, value } of found.names.toJSON()) names.add(keyOf(type, value));
  }
  return [...names].sort();
}

function keyOf(type: Identifier['type'], value: string): string {
  // A root label's dot says nothing: this server reads past it, Pebble and Boulder do not.
  return `${type}:${value.toLowerCase().replace(/\.$/, '')}`;
}
