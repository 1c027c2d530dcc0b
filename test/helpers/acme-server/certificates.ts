import { randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { CertificateFlaws } from './options.ts';
import type { Identifier } from './store.ts';

x509.cryptoProvider.set(webcrypto);

const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY = 86_400_000;

/** A certificate with the key that it certifies. */
interface Issuer {
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

/** What is asked of the authority; times in milliseconds since 1970. */
export interface IssueRequest {
  readonly publicKey: x509.PublicKey;
  readonly identifiers: readonly Identifier[];
  readonly notBefore: number;
  readonly notAfter: number;
  readonly alternates: number;
  readonly flaws: CertificateFlaws;
}

/** A leaf and its chains as PEM, each leaf first; the first is the default chain. */
export interface Issued {
  readonly leaf: x509.X509Certificate;
  readonly chains: readonly string[];
}

/** A small certification authority: roots over one intermediate key over leaves. */
export class Authority {
  readonly #now: () => number;
  readonly #intermediateKeys: webcrypto.CryptoKeyPair;
  readonly #foreign: webcrypto.CryptoKeyPair;
  readonly #branches: { root: Issuer; intermediate: x509.X509Certificate }[] = [];

  private constructor(now: () => number, keys: webcrypto.CryptoKeyPair[]) {
    const [intermediate, foreign] = keys;
    if (!intermediate || !foreign) throw new Error('The authority needs two keys.');
    this.#now = now;
    this.#intermediateKeys = intermediate;
    this.#foreign = foreign;
  }

  static async create(now: () => number): Promise<Authority> {
    const authority = new Authority(now, [await newKeys(), await newKeys()]);
    await authority.#branch(0);
    return authority;
  }

  /** The root of the default chain (0) or of an alternate, as PEM; alternates exist once issued. */
  rootPem(index = 0): string {
    const branch = this.#branches[index];
    if (!branch) throw new Error(`No chain ${index} has been issued yet.`);
    return pem(branch.root.certificate);
  }

  async issue(request: IssueRequest): Promise<Issued> {
    const { flaws } = request;
    const { intermediate } = await this.#branch(0);
    const missing = new Set(flaws.missingNames);
    const names = request.identifiers
      .filter(({ value }) => !missing.has(value))
      .concat((flaws.extraNames ?? []).map((value) => ({ type: 'dns', value })))
      .map(({ type, value }) => ({
        type: type === 'ip' ? ('ip' as const) : ('dns' as const),
        value,
      }));
    const leaf = await certify({
      publicKey: flaws.wrongKey ? (await newKeys()).publicKey : request.publicKey,
      issuer: { certificate: intermediate, keys: this.#intermediateKeys },
      subject: '',
      notBefore: flaws.notBefore ?? new Date(request.notBefore),
      notAfter: flaws.notAfter ?? new Date(request.notAfter),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        // RFC 5280 §4.2.1.6: critical, since the subject is empty.
        new x509.SubjectAlternativeNameExtension(names, true),
      ],
    });
    const chains: string[] = [];
    for (let index = 0; index <= request.alternates; index++) {
      chains.push(await this.#chain(leaf, index, flaws));
    }
    return { leaf, chains };
  }

  async #chain(
    leaf: x509.X509Certificate,
    index: number,
    { chain: flaw, issuerNotAfter }: CertificateFlaws,
  ): Promise<string> {
    if (flaw === 'leaf-only') return pem(leaf);
    const { root, intermediate: ordinary } = await this.#branch(index);
    const intermediate = issuerNotAfter
      ? await this.#intermediate(root, this.#intermediateKeys, issuerNotAfter)
      : ordinary;
    if (flaw === 'with-root') return pem(leaf, intermediate, root.certificate);
    if (flaw === undefined) return pem(leaf, intermediate);
    return pem(leaf, await this.#intermediate(root, this.#foreign));
  }

  /** Root and intermediate number so-and-so, made when first asked for. */
  async #branch(index: number) {
    const known = this.#branches[index];
    if (known) return known;
    const keys = await newKeys();
    const subject = `CN=pgacme test root ${index}`;
    const certificate = await certify({
      publicKey: keys.publicKey,
      issuer: { keys, subject },
      subject,
      ...this.#years(20),
      extensions: caExtensions(),
    });
    const root = { certificate, keys };
    const branch = { root, intermediate: await this.#intermediate(root, this.#intermediateKeys) };
    return (this.#branches[index] ??= branch);
  }

  #intermediate(
    root: Issuer,
    keys: webcrypto.CryptoKeyPair,
    notAfter?: Date,
  ): Promise<x509.X509Certificate> {
    return certify({
      publicKey: keys.publicKey,
      issuer: root,
      subject: 'CN=pgacme test intermediate',
      ...this.#years(10),
      ...(notAfter && { notAfter }),
      extensions: caExtensions(0),
    });
  }

  #years(years: number): { notBefore: Date; notAfter: Date } {
    const span = years * 365 * DAY;
    return { notBefore: new Date(this.#now() - span), notAfter: new Date(this.#now() + span) };
  }
}

interface Certify {
  readonly publicKey: x509.PublicKeyType;
  readonly issuer: Issuer | { keys: webcrypto.CryptoKeyPair; subject: string };
  readonly subject: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: x509.Extension[];
}

async function certify(request: Certify): Promise<x509.X509Certificate> {
  const { issuer, extensions, ...rest } = request;
  return x509.X509CertificateGenerator.create({
    ...rest,
    serialNumber: newSerial(),
    issuer: 'certificate' in issuer ? issuer.certificate.subjectName : issuer.subject,
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: ecdsa,
    extensions: [
      ...extensions,
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
    ],
  });
}

function caExtensions(pathLength?: number): x509.Extension[] {
  const usage = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  return [
    new x509.BasicConstraintsExtension(true, pathLength, true),
    new x509.KeyUsagesExtension(usage, true),
  ];
}

/** RFC 5280 §4.1.2.2: positive, at most 20 octets; the top bits keep sign and length fixed. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ecdsa, true, ['sign', 'verify']);
}

function pem(...certificates: x509.X509Certificate[]): string {
  return certificates.map((certificate) => `${certificate.toString('pem')}\n`).join('');
}
