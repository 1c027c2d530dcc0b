import { isIP } from 'node:net';
import type { ParsedCsr } from './csr.ts';
import type { Element } from './der.ts';
import { aLabelOf, judgeDnsName, normaliseName } from './dns-name.ts';
import { dnsNameTag, generalNameKinds, ipAddressTag, Oid, readGeneralNames } from './extensions.ts';
import { showText } from './printable.ts';
import { type Reason, reason } from './reason.ts';

/** More faults than these are counted, not listed: the reasons are kept in a row. */
const MAX_LISTED = 100;

/** Judges all names of a CSR; throws DerError if they cannot be read. */
export function judgeNames(csr: ParsedCsr, maxNames: number) {
  const san = csr.extensions.values.get(Oid.subjectAltName);
  const entries = san ? readGeneralNames(san) : [];
  const names = new Set<string>();
  const faulty = new Map<string, Reason>();
  const others: Reason[] = [];
  for (const entry of entries) {
    if (entry.tag !== dnsNameTag) {
      others.push(otherName(entry));
      continue;
    }
    const { name, fault } = judgeDnsName(entry.content);
    if (fault) faulty.set(name, fault);
    names.add(name);
  }
  const reasons = listed([...faulty.values(), ...others]);
  if (entries.length === 0) {
    const text = csr.hasMisplacedNames
      ? "The CSR has its names in Microsoft's attribute 1.3.6.1.4.1.311.2.1.14, which CAs do not read; make it with a tool that writes the attribute extensionRequest (1.2.840.113549.1.9.14)."
      : 'The CSR has no names in a subject alternative name extension; list all names there, the CN alone is not enough.';
    reasons.push(reason('no_san', text));
  }
  if (names.size > maxNames) {
    const text = `The CSR has ${names.size} names, and a certificate may have ${maxNames}; spread them over several CSRs.`;
    reasons.push(reason('too_many_names', text));
  }
  reasons.push(...commonNameFaults(csr.commonNames, names));
  const identifiers = [...names].filter((name) => !faulty.has(name)).sort();
  return { identifiers, reasons };
}

/** RFC 8555 §7.4: the CN is optional, and must be one of the names, in the same form. */
function commonNameFaults(commonNames: readonly string[], names: ReadonlySet<string>): Reason[] {
  return commonNames.flatMap((commonName) => {
    const name = commonName.toLowerCase();
    if (name === '' || names.has(name)) return [];
    const written = aLabelOf(Buffer.from(commonName)) ?? normaliseName(commonName);
    // With no names at all, no_san already says to list them, this one included.
    if (names.size === 0 && looksLikeHost(written)) return [];
    const cure = commonNameCure(name, written, names);
    const text = `The common name ${showText(commonName)} is not among the subject alternative names; ${cure}.`;
    return [reason('cn_not_in_san', text)];
  });
}

/** `written`: the name in A-labels and without a dot at its end, as certificates have it. */
function commonNameCure(name: string, written: string, names: ReadonlySet<string>): string {
  if (names.has(written)) return `write it as ${showText(written)} or leave the CN out`;
  if (!looksLikeHost(written)) return 'leave the CN out';
  return name === written
    ? 'add it there or leave the CN out'
    : `add ${showText(written)} there and write the CN so, too, or leave it out`;
}

function looksLikeHost(name: string): boolean {
  return /^[^\s/@]+\.[^\s/@.]+$/.test(name) && isIP(name) === 0;
}

function otherName(entry: Element): Reason {
  if (entry.tag === ipAddressTag) {
    const text = `The CSR has the IP address ${showIp(entry.content)}; only host names are supported.`;
    return reason('ip_not_supported', text);
  }
  const kind = generalNameKinds.get(entry.tag) ?? 'an unknown type';
  const text = `The CSR has ${kind} among its subject alternative names; only DNS names are supported.`;
  return reason('unsupported_san', text);
}

function showIp(address: Buffer): string {
  if (address.length === 4) return address.join('.');
  return address
    .toString('hex')
    .slice(0, 32)
    .replace(/(.{4})(?!$)/g, '$1:');
}

/** The first reasons without repetition; where there are more, a last one that counts them. */
function listed(reasons: readonly Reason[]): Reason[] {
  const distinct = [...new Map(reasons.map((one) => [one.code + one.text, one])).values()];
  if (distinct.length <= MAX_LISTED) return distinct;
  const more = distinct.length - MAX_LISTED;
  const text = `${more} more names are refused; correct those listed first.`;
  return [...distinct.slice(0, MAX_LISTED), reason('name_invalid', text)];
}
