import { isIPv4, isIPv6 } from 'node:net';

/**
 * An IP address in the one form that identifiers have (RFC 8738 §3): IPv4 with four decimal numbers, IPv6
 * as RFC 5952 writes it; undefined for anything else, a zone (`%eth0`) included.
 */
export function canonicalIp(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const groups = groupsOf(text);
  // RFC 5952 §5: addresses that are known to hold an IPv4 address show it.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytesOf(text).slice(12).join('.')}`;
  }
  // URL does §4: lower case, no leading zeros, the first of the longest runs of zeros shortened.
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

/**
 * The name under which DNS would have an IP address (RFC 1035 §3.5, RFC 3596 §2.5), without the last dot:
 * what tls-alpn-01 sends as server name (RFC 8738 §6). undefined for what is no address.
 */
export function reverseName(address: string): string | undefined {
  if (isIPv4(address)) return `${address.split('.').reverse().join('.')}.in-addr.arpa`;
  if (canonicalIp(address) === undefined) return undefined;
  const nibbles = bytesOf(address).flatMap((byte) => [byte >> 4, byte & 15]);
  const digits = nibbles.reverse().map((nibble) => nibble.toString(16));
  return `${digits.join('.')}.ip6.arpa`;
}

function bytesOf(address: string): number[] {
  return groupsOf(address).flatMap((group) => [group >> 8, group & 255]);
}

function groupsOf(address: string): number[] {
  // As URL writes it, there is no IPv4 part any more.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const numbers = (part: string) =>
    (part === '' ? [] : part.split(':')).map((g) => parseInt(g, 16));
  const [before, after] = [numbers(head), numbers(tail ?? '')];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}
