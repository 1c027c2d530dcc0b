import { isPlain } from '../acme/text.ts';

/** Guards for JSON that others wrote: what is not of the kind asked for is undefined. */
export type JsonObject = Record<string, unknown>;

const MAX_TEXT = 10_000;

export function objectOf(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}

/** The object that a text is the JSON of. */
export function jsonObject(text: string): JsonObject | undefined {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A text of one line that is what it looks like on a terminal: nothing else may come out of a file. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && isPlain(value, MAX_TEXT) ? value : undefined;
}

/** The texts of a list; what else is in it is left out. */
export function textsOf(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [];
  return list.map(textOf).filter((text) => text !== undefined);
}

/** A URL that an account or a directory can have. */
export function httpsUrl(value: unknown): string | undefined {
  const text = textOf(value);
  return text !== undefined && /^https:\/\//.test(text) && URL.canParse(text) ? text : undefined;
}
