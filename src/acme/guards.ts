import { badAnswer } from './answer.ts';
import { isObject, type ProblemDocument, problemDocument } from './problem.ts';
import { isPlain, type JsonObject } from './text.ts';

/** An identifier of an order or authorization (RFC 8555 §9.7.7, RFC 8738 §3). */
export interface Identifier {
  type: 'dns' | 'ip' | (string & {});
  value: string;
}

// Guards name the URL that answered and the member, so that the sentence is of use to the CA.

/** A member that must be one of the listed texts, such as a status. */
export function oneOf<T extends string>(
  url: string,
  object: JsonObject,
  member: string,
  allowed: readonly T[],
): T {
  const value = object[member];
  const found = allowed.find((text) => text === value);
  if (found === undefined) {
    throw badAnswer(url, `with "${member}" missing or none of ${allowed.join(', ')}`);
  }
  return found;
}

/** A member that must be a URL; whether it may be visited is asked when it is. */
export function urlMember(url: string, object: JsonObject, member: string): string {
  const value = object[member];
  if (!isUrlText(value)) throw badAnswer(url, `with "${member}" missing or not a URL`);
  return value;
}

/** A member that must be an array. */
export function listMember(url: string, object: JsonObject, member: string): readonly unknown[] {
  const value = object[member];
  if (!Array.isArray(value)) throw badAnswer(url, `with "${member}" missing or not a list`);
  return value;
}

/** Whether a value looks like an absolute URL: a scheme, and visible ASCII only (RFC 3986 §3). */
export function isUrlText(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z][a-z0-9+.-]{0,20}:[\x21-\x7e]{1,2000}$/i.test(value);
}

/** An optional text member; anything but a plain text counts as absent. */
export function optionalText(object: JsonObject, member: string, max = 2000): string | undefined {
  const value = object[member];
  return typeof value === 'string' && isPlain(value, max) ? value : undefined;
}

// RFC 3339 §5.6: day, hour and minute, second, fraction, offset.
const TIME =
  /^([1-9]\d{3}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** An optional RFC 3339 time, as UTC with milliseconds; anything else counts as absent, also a day that is none. */
export function optionalTime(object: JsonObject, member: string): string | undefined {
  const found = TIME.exec(optionalText(object, member, 64) ?? '');
  if (found === null) return undefined;
  const [, day = '', minute = '', second = '', fraction = '', offset = ''] = found;
  if (!isDay(day)) return undefined;
  // A leap second is the first second of the next minute, as PostgreSQL reads it.
  const isLeap = second === '60';
  const text = `${day}T${minute}:${isLeap ? '59' : second}${fraction}${offset.toUpperCase()}`;
  const time = Date.parse(text) + (isLeap ? 1000 : 0);
  return time > 0 && time < Date.UTC(9999, 0) ? new Date(time).toISOString() : undefined;
}

/** Whether the calendar has a day: JavaScript reads 30 February as one in March, PostgreSQL refuses it. */
function isDay(day: string): boolean {
  const time = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(day);
}

/** Whether a value is an identifier object (RFC 8555 §7.1.3, §7.1.4). */
export function isIdentifier(value: unknown): value is Identifier {
  return (
    isObject(value) &&
    optionalText(value, 'type', 50) !== undefined &&
    optionalText(value, 'value', 2000) !== undefined
  );
}

/** A value that must be an identifier object. */
export function identifier(url: string, value: unknown): Identifier {
  if (isIdentifier(value)) return { type: value.type, value: value.value };
  throw badAnswer(url, 'with an identifier that has no type or no value');
}

/** The `error` member of an order or challenge, where it has one. */
export function optionalError(object: JsonObject): ProblemDocument | undefined {
  const { error } = object;
  return isObject(error) ? problemDocument(error) : undefined;
}
