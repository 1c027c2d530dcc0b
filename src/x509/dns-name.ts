import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { parse } from 'tldts';
import { showBytes, utf8 } from './printable.ts';
import { type Reason, reason } from './reason.ts';

/** A dNSName that may be ordered, or why it may not; `name` is lower case without trailing dot. */
export interface JudgedName {
  name: string;
  fault?: Reason;
}

/** RFC 1035 §2.3.4, in characters, without the trailing dot. */
const MAX_NAME = 253;
const MAX_LABEL = 63;

const DOT = 0x2e;

/** Lower case, without one trailing dot: the form in which names are compared (RFC 8555 §7.1.3). */
export function normaliseName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

/**
 * The registered domain of a name, or of a wildcard's base, by the public suffix list with its private section:
 * below `github.io` everybody has a domain of their own. A suffix of that section, which has an owner too, is its own
 * domain. Names outside the list (an internal PKI's) are their last two labels.
 */
export function registeredDomain(identifier: string): string {
  const name = identifier.replace(/^\*\./, '');
  const { domain, publicSuffix, isPrivate } = parse(name, {
    allowPrivateDomains: true,
    extractHostname: false,
    validateHostname: false,
  });
  if (isPrivate === true && publicSuffix === name) return name;
  return domain ?? name.split('.').slice(-2).join('.');
}

/** Judges the content of a dNSName (RFC 5280 §4.2.1.6, and what the CAs accept). */
export function judgeDnsName(content: Buffer): JudgedName {
  const shown = showBytes(content);
  const name = normaliseName(content.toString('latin1'));
  if (content.some((byte) => byte >= 0x80)) {
    const cure = aLabel(content);
    const text = `The name ${shown} has characters outside ASCII; write ${cure}.`;
    return { name, fault: reason('name_not_ascii', text) };
  }
  if (name.length <= 64 && isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) {
    const text = `The name ${shown} is an IP address; only host names are supported.`;
    return { name, fault: reason('ip_not_supported', text) };
  }
  const faults = faultsOf(name);
  // RFC 5280 §4.2.1.6: names are in the preferred syntax of RFC 1034 §3.5, which has no dot at the end.
  if (content.at(-1) === DOT && name !== '') faults.push('it ends with a dot');
  if (faults.length > 0) {
    const text = `The name ${shown} cannot be ordered: ${faults.join(', ')}; correct or remove it.`;
    return { name, fault: reason('name_invalid', text) };
  }
  if (isPublicSuffix(name.replace(/^\*\./, ''))) {
    const text = `The name ${shown} covers a public suffix, under which anybody can register names; ask for a name below it.`;
    return { name, fault: reason('public_suffix', text) };
  }
  return { name };
}

/** Everything that is wrong with a normalised ASCII name, as clauses. */
function faultsOf(name: string): string[] {
  const faults: string[] = [];
  const labels = name.split('.');
  const wildcard = labels[0] === '*';
  const base = wildcard ? labels.slice(1) : labels;
  if (name.length > MAX_NAME) faults.push(`it has more than ${MAX_NAME} characters`);
  if (base.some((label) => label === '')) faults.push('a label is empty');
  if (base.some((label) => label.length > MAX_LABEL)) {
    faults.push(`a label has more than ${MAX_LABEL} characters`);
  }
  if (base.some((label) => label.includes('*'))) {
    faults.push('a wildcard is only the whole first label');
  }
  if (name.includes('_')) faults.push('CAs refuse underscores');
  // RFC 952 and RFC 1123 §2.1: letters, digits, hyphens.
  if (/[^a-z0-9.*_-]/.test(name)) faults.push('it has characters that no host name has');
  if (base.some((label) => label.startsWith('-') || label.endsWith('-'))) {
    faults.push('a label begins or ends with a hyphen');
  }
  // RFC 5890 §2.3.1: labels with hyphens in the third and fourth place are reserved.
  if (base.some((label) => label.slice(2, 4) === '--' && !label.startsWith('xn'))) {
    faults.push('a label has a reserved form (??--)');
  }
  if (base.length < 2) {
    faults.push(
      wildcard
        ? 'a wildcard needs at least two labels after it'
        : 'it has no dot, and CAs issue only for full domain names',
    );
  }
  // A last label like this makes browsers read the whole name as an IPv4 address.
  if (/^(\d+|0x[0-9a-f]*)$/.test(base.at(-1) ?? '')) faults.push('its last label is a number');
  return faults;
}

/** Whether anybody can register names below `name`: the ICANN part of the Public Suffix List. */
function isPublicSuffix(name: string): boolean {
  const options = { allowPrivateDomains: false, extractHostname: false, validateHostname: false };
  const { publicSuffix, isIcann } = parse(name, options);
  return isIcann === true && publicSuffix === name;
}

/** RFC 5890 §2.3.2.1: the form of an internationalised name that goes into a certificate. */
function aLabel(content: Buffer): string {
  return aLabelOf(content) ?? 'it with A-labels (xn--…)';
}

/** A name in A-labels; undefined for what is no name, or is not UTF-8. */
export function aLabelOf(content: Buffer): string | undefined {
  // Punycode costs the square of the length, and the length is the sender's choice.
  const text = content.length <= 4 * MAX_NAME ? utf8(content) : undefined;
  if (text === undefined) return undefined;
  const ascii = normaliseName(domainToASCII(text));
  return ascii !== '' && faultsOf(ascii).length === 0 ? ascii : undefined;
}
