import { DerError, DerReader, type Element, Tag, within } from './der.ts';
import { type Extensions, readExtensions } from './extensions.ts';

/** The parts of a certificate that we compare or store (RFC 5280 §4.1). */
export interface ParsedCertificate {
  /** Lower-case hexadecimal, whole bytes, without the sign byte; "-" before a negative one. */
  serial: string;
  /** The bytes of its INTEGER. */
  serialContent: Buffer;
  notBefore: Date;
  notAfter: Date;
  spki: Element;
  extensions: Extensions;
}

/** Takes a DER certificate apart; throws DerError. */
export function parseCertificate(der: Buffer): ParsedCertificate {
  const file = new DerReader(der);
  const certificate = file.enter(Tag.sequence, 'the certificate');
  file.finish('the certificate');
  const fields = certificate.enter(Tag.sequence, "the certificate's fields");
  certificate.next(Tag.sequence, 'the signature algorithm');
  certificate.next(Tag.bitString, 'the signature');
  certificate.finish('the certificate');

  fields.nextIf(0xa0, 'the version');
  const serialContent = fields.next(Tag.integer, 'the serial number').content;
  fields.next(Tag.sequence, 'the signature algorithm');
  fields.next(Tag.sequence, 'the issuer');
  const validity = fields.enter(Tag.sequence, 'the validity');
  const notBefore = readTime(validity.any('the start of validity'));
  const notAfter = readTime(validity.any('the end of validity'));
  validity.finish('the validity');
  fields.next(Tag.sequence, 'the subject');
  const spki = fields.next(Tag.sequence, 'the public key');
  fields.nextIf(0x81, "the issuer's unique identifier");
  fields.nextIf(0x82, "the subject's unique identifier");
  const extensions: Extensions = { values: new Map(), duplicates: [] };
  const wrapped = fields.nextIf(0xa3, 'the extensions');
  if (wrapped) {
    const outer = within(wrapped);
    readExtensions(outer.next(Tag.sequence, 'the extensions'), extensions);
    outer.finish('the extensions');
  }
  fields.finish("the certificate's fields");
  return {
    serial: serialText(serialContent),
    serialContent,
    notBefore,
    notAfter,
    spki,
    extensions,
  };
}

/** RFC 5280 §4.1.2.2 wants a positive number; roots of somebody's own have others, and serve all the same. */
function serialText(content: Buffer): string {
  const isNegative = (content[0] ?? 0) >= 0x80;
  const number = BigInt.asIntN(8 * content.length, BigInt(`0x0${content.toString('hex')}`));
  const digits = (isNegative ? -number : number).toString(16);
  const whole = digits.length % 2 === 0 ? digits : `0${digits}`;
  return isNegative ? `-${whole}` : whole;
}

/** RFC 5280 §4.1.2.5: always with seconds and in UTC; two-digit years below 50 are 20xx. */
function readTime({ tag, content, offset }: Element): Date {
  const text = content.toString('latin1');
  const digits = tag === Tag.utcTime ? 12 : 14;
  if ((tag !== Tag.utcTime && tag !== Tag.generalizedTime) || !/^\d{12,14}Z$/.test(text)) {
    throw new DerError('a time is not in the form that certificates use', offset);
  }
  const full = digits === 12 ? `${text < '50' ? '20' : '19'}${text}` : text;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full);
  const [year, month, day, hour, minute, second] = (parts ?? []).slice(1);
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(date.getTime())) throw new DerError('a time does not exist', offset);
  return date;
}
