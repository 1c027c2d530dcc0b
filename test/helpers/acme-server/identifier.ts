import { isIP } from 'node:net';
import { type JsonObject, Refusal } from './problem.ts';
import type { Ca, Identifier } from './store.ts';

const label = '(?!-)[a-z0-9_-]{1,63}(?<!-)';
const dnsName = new RegExp(`^(\\*\\.)?(${label}\\.)+${label}$`);

/** An identifier as ordered, of a type and a form that are taken. */
export function parseIdentifier(ca: Ca, raw: unknown): Identifier {
  const given: JsonObject = typeof raw === 'object' && raw !== null ? { ...raw } : {};
  const { type } = given;
  if (typeof type !== 'string' || typeof given['value'] !== 'string') {
    throw new Refusal('malformed', 'An identifier has type and value.');
  }
  if (!ca.options.identifierTypes.includes(type)) {
    throw new Refusal('unsupportedIdentifier', `Identifiers of type ${type} are not issued here.`);
  }
  const value = given['value'].toLowerCase();
  if (type === 'ip' ? isIP(value) > 0 : dnsName.test(value) && value.length <= 253) {
    return { type, value };
  }
  throw new Refusal('malformed', `The ${type} identifier is not well-formed.`);
}
