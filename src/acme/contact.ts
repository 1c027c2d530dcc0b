// RFC 5322 §3.2.3 dot-atom, in ASCII: what CAs take, and what mail systems can send to.
const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const LOCAL = new RegExp(`^${ATOM}(\\.${ATOM})*$`);
const LABEL = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const DOMAIN = new RegExp(`^(${LABEL}\\.)+${LABEL}$`);

/**
 * What is wrong with a contact, as a sentence, or undefined where it is good: a `mailto:` URL (RFC 6068)
 * with one address and no header fields, as RFC 8555 §7.3 has it.
 */
export function contactProblem(contact: string): string | undefined {
  if (!/^mailto:/i.test(contact)) {
    return 'A contact starts with mailto:, such as mailto:ops@example.org.';
  }
  const to = contact.slice('mailto:'.length);
  if (to.includes('?')) {
    return 'A contact has no header fields; leave out the question mark and what follows.';
  }
  if (to.includes(',')) return 'A contact is one address; make each address a contact of its own.';
  const at = to.lastIndexOf('@');
  const local = percentDecoded(to.slice(0, Math.max(at, 0)));
  const domain = to.slice(at + 1);
  // RFC 5321 §4.5.3.1.
  const isAddress =
    at > 0 &&
    LOCAL.test(local) &&
    local.length <= 64 &&
    DOMAIN.test(domain) &&
    domain.length <= 253 &&
    !/^\d+$/.test(domain.slice(domain.lastIndexOf('.') + 1));
  return isAddress
    ? undefined
    : 'A contact needs an address such as ops@example.org after mailto:, in ASCII.';
}

/** RFC 6068 §2: `%` stands before two hexadecimal digits; anything else is no address. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
