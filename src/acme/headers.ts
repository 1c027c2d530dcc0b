/** Header fields of an answer, names in lower case; a repeated field is an array. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** As long as the longest limits of public CAs, and a day. */
const LONGEST_MS = 8 * 86_400_000;

/** The first value of a header field. */
export function header(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/**
 * The wait that an answer asks for in Retry-After (RFC 9110 §10.2.3: seconds or an HTTP date): whole
 * milliseconds from now, 0 to eight days. A date is taken against the answer's own Date, since the CA's
 * clock and ours may differ.
 */
export function retryAfterMs(headers: Headers): number | undefined {
  const value = header(headers, 'retry-after')?.trim();
  if (value === undefined) return undefined;
  if (/^\d{1,15}$/.test(value)) return Math.min(Number(value) * 1000, LONGEST_MS);
  const until = httpDate(value);
  if (until === undefined) return undefined;
  const now = httpDate(header(headers, 'date')?.trim()) ?? Date.now();
  return Math.min(Math.max(Math.round(until - now), 0), LONGEST_MS);
}

/** The three spellings of an HTTP date (RFC 9110 §5.6.7), as milliseconds since 1970. */
export function httpDate(value: string | undefined): number | undefined {
  if (value === undefined || !/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(value)) return undefined;
  // The asctime spelling names no zone; Date.parse would take ours.
  const time = Date.parse(value.endsWith('GMT') ? value : `${value} GMT`);
  return Number.isNaN(time) ? undefined : time;
}

// One link: <reference> and its parameters, up to a comma that is not inside quotes.
const LINK = /\s*<([^>]*)>((?:[^",]|"(?:[^"\\]|\\.)*")*)(?:,|$)/y;
// A parameter and its value; or quotes that belong to none, which are passed over whole.
const PARAMETER = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))|"(?:[^"\\]|\\.)*"/g;

/**
 * The targets of the Link header fields (RFC 8288) that have this relation, as absolute URLs, in
 * order and without repetition; references are resolved against the URL of the request.
 */
export function linkTargets(headers: Headers, rel: string, base: string): string[] {
  const field = headers['link'];
  if (field === undefined) return [];
  const targets = new Set<string>();
  for (const value of typeof field === 'string' ? [field] : field) {
    LINK.lastIndex = 0;
    for (let link = LINK.exec(value); link !== null; link = LINK.exec(value)) {
      const target = relationsOf(link[2] ?? '').includes(rel)
        ? absolute(link[1] ?? '', base)
        : undefined;
      if (target !== undefined) targets.add(target);
      if (LINK.lastIndex >= value.length) break;
    }
  }
  return [...targets];
}

/** The relations that the parameters of a link name: those of the first `rel` (RFC 8288 §3.3). */
function relationsOf(parameters: string): string[] {
  for (const [, name, quoted, plain] of parameters.matchAll(PARAMETER)) {
    if (name?.toLowerCase() === 'rel') return (quoted ?? plain ?? '').toLowerCase().split(/\s+/);
  }
  return [];
}

/**
 * A reference of an answer as an absolute URL. One that is absolute already is kept as it was sent:
 * RFC 8555 §6.4 compares the `url` of a signed request letter by letter.
 */
export function absolute(reference: string, base: string): string | undefined {
  const text = reference.trim();
  if (!URL.canParse(text, base)) return undefined;
  return /^[a-z][a-z0-9+.-]*:/i.test(text) ? text : new URL(text, base).href;
}
