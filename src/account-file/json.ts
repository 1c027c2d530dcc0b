/** Guards for JSON that others wrote: what is not of the kind asked for is undefined. */
export type JsonObject = Record<string, unknown>;

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

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

/** A URL that an account or a directory can have. */
export function httpsUrl(value: unknown): string | undefined {
  const text = textOf(value);
  return text !== undefined && /^https:\/\//.test(text) && URL.canParse(text) ? text : undefined;
}
