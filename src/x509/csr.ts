import { bits, DerError, DerReader, type Element, oid, Tag, within } from './der.ts';
import { X509Error } from './errors.ts';
import { type Extensions, Oid, readExtensions } from './extensions.ts';
import { type PemBlock, readPem } from './pem.ts';
import { type Reason, reason } from './reason.ts';

/** A signature's algorithm; `plain` if its parameters are absent or NULL, as for all but PSS. */
export interface SignatureAlgorithm {
  id: string;
  plain: boolean;
}

/** A PKCS #10 request taken apart, nothing of it judged yet (RFC 2986 §4). */
export interface ParsedCsr {
  der: Buffer;
  /** The bytes that the signature is over. */
  signed: Buffer;
  signatureAlgorithm: SignatureAlgorithm;
  signature: Buffer;
  commonNames: string[];
  spki: Element;
  extensions: Extensions;
  /** Whether names are in the attribute that Microsoft's old tools write, which no CA reads. */
  hasMisplacedNames: boolean;
}

const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const MICROSOFT_EXTENSION_REQUEST = '1.3.6.1.4.1.311.2.1.14';
const COMMON_NAME = '2.5.4.3';

/** `openssl req` writes the first label, some old tools the second. */
const csrLabels = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'];

/** The DER of a PEM CSR. Throws X509Error `ERR_X509_PEM` if the text is not exactly one CSR. */
export function csrDer(pem: string): Uint8Array {
  const found = findCsr(pem);
  if (found instanceof Uint8Array) return found;
  throw new X509Error('ERR_X509_PEM', found.text);
}

/** The DER of the one CSR in a PEM text, or why there is none. Text around the block is ignored. */
export function findCsr(pem: string): Buffer | Reason {
  // Never echoed, and before anything else: the sender must learn that the key has been shown.
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    const text = 'The text holds a private key; send the CSR alone and replace that key.';
    return reason('private_key', text);
  }
  let blocks: PemBlock[];
  try {
    blocks = readPem(pem);
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return notACsr(`This is not a PEM text: ${error.message}`);
  }
  const [block, ...more] = blocks;
  if (!block) return notACsr('There is no CERTIFICATE REQUEST block in this text');
  if (more.length > 0) return notACsr(`There are ${more.length + 1} blocks in this text, not one`);
  if (!csrLabels.includes(block.label)) {
    return notACsr(`This is a ${block.label} block, not a CERTIFICATE REQUEST`);
  }
  return block.der;
}

/** The reason for what is no CSR at all; `what` has no full stop. */
export function notACsr(what: string): Reason {
  return reason('not_a_csr', `${what}; send one PKCS #10 CSR as PEM.`);
}

/** Takes a DER CSR apart (RFC 2986 §4); throws DerError. */
export function parseCsr(der: Buffer): ParsedCsr {
  const file = new DerReader(der);
  const request = file.enter(Tag.sequence, 'the request');
  file.finish('the request');
  const info = request.next(Tag.sequence, 'the request information');
  const algorithm = request.enter(Tag.sequence, 'the signature algorithm');
  const signature = bits(request.next(Tag.bitString, 'the signature'));
  request.finish('the request');

  const fields = within(info);
  fields.next(Tag.integer, 'the version');
  const subject = fields.next(Tag.sequence, 'the subject');
  const spki = fields.next(Tag.sequence, 'the public key');
  const attributes = readAttributes(fields.nextIf(0xa0, 'the attributes'));
  fields.finish('the request information');

  return {
    der,
    signed: info.der,
    signatureAlgorithm: readSignatureAlgorithm(algorithm),
    signature,
    commonNames: readCommonNames(subject),
    spki,
    extensions: requestedExtensions(attributes),
    hasMisplacedNames: hasMisplacedNames(attributes),
  };
}

function readSignatureAlgorithm(algorithm: DerReader): SignatureAlgorithm {
  const id = oid(algorithm.next(Tag.oid, 'the signature algorithm'));
  if (algorithm.done) return { id, plain: true };
  const parameters = algorithm.any("the signature algorithm's parameters");
  algorithm.finish('the signature algorithm');
  return { id, plain: parameters.tag === Tag.null && parameters.content.length === 0 };
}

interface Attribute {
  id: string;
  /** The first of its values. */
  value: Element;
}

/**
 * The attributes that CAs read. Go's crypto/x509, which Boulder uses, passes over an attribute that is not
 * built as PKCS #10 says, or has no value, and reads the first value of the others.
 */
function readAttributes(attributes: Element | undefined): Attribute[] {
  const found: Attribute[] = [];
  const list = attributes && within(attributes);
  while (list?.done === false) {
    const attribute = readAttribute(list.any('an attribute'));
    if (attribute) found.push(attribute);
  }
  return found;
}

function readAttribute({ tag, content, offset }: Element): Attribute | undefined {
  if (tag !== Tag.sequence) return undefined;
  try {
    const parts = new DerReader(content, offset);
    const id = oid(parts.next(Tag.oid, "an attribute's identifier"));
    const values = parts.enter(Tag.set, "an attribute's values");
    const value = values.any("an attribute's value");
    while (!values.done) values.any("an attribute's value");
    return { id, value };
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

/** RFC 2985 §5.4.2: the extensions that the requester asks for are one attribute. */
function requestedExtensions(attributes: readonly Attribute[]): Extensions {
  const extensions: Extensions = { values: new Map(), duplicates: [] };
  for (const { id, value } of attributes) {
    if (id !== EXTENSION_REQUEST) continue;
    if (value.tag !== Tag.sequence) throw new DerError('the extensions are missing', value.offset);
    readExtensions(value, extensions);
  }
  return extensions;
}

function hasMisplacedNames(attributes: readonly Attribute[]): boolean {
  return attributes.some(({ id, value }) => {
    if (id !== MICROSOFT_EXTENSION_REQUEST) return false;
    const extensions: Extensions = { values: new Map(), duplicates: [] };
    try {
      readExtensions(value, extensions);
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
    }
    return extensions.values.has(Oid.subjectAltName);
  });
}

function readCommonNames(subject: Element): string[] {
  const names: string[] = [];
  const sequence = within(subject);
  while (!sequence.done) {
    const set = sequence.enter(Tag.set, 'a part of the subject');
    while (!set.done) {
      const pair = set.enter(Tag.sequence, 'a part of the subject');
      const id = oid(pair.next(Tag.oid, 'a part of the subject'));
      const value = pair.any('a part of the subject');
      pair.finish('a part of the subject');
      if (id === COMMON_NAME) names.push(directoryString(value));
    }
  }
  return names;
}

/** The text of a DirectoryString (RFC 5280 §4.1.2.4), good enough to compare with host names. */
function directoryString({ tag, content }: Element): string {
  if (tag === 0x0c) return content.toString('utf8');
  // BMPString: two bytes a character, the high one first.
  if (tag === 0x1e && content.length % 2 === 0) {
    return Buffer.from(content).swap16().toString('utf16le');
  }
  return content.toString('latin1');
}
