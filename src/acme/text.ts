/** A JSON object (RFC 8259 §4) as the CA sent it: members of unknown type. */
export type JsonObject = Readonly<Record<string, unknown>>;

// Control (also escape and NUL), format (also bidirectional marks and zero width), lone surrogates,
// private use, line and paragraph separators: all that can forge or hide text on a terminal.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const HIDDEN_ONCE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;
// As above, but for what jsonb shows as an escape anyway. NUL and lone surrogates it does not take at all.
const UNSTORABLE = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

// Deeper JSON than this is an attack on whoever walks it; ACME's own needs four levels.
const MAX_DEPTH = 32;

/**
 * Remote text, such as the detail of a problem (RFC 8555 §6.7), made fit for a terminal, a log or a reason:
 * control, escape and bidirectional characters removed, white space folded, at most `max` characters (cut
 * with an ellipsis).
 */
export function printable(text: string, max: number): string {
  // A bound on the work: what is beyond four times the wanted length cannot matter.
  const head = text.length > 4 * max ? text.slice(0, 4 * max) : text;
  const clean = head.replace(/\s+/gu, ' ').replace(HIDDEN, '').trim();
  if (clean.length <= max && head === text) return clean;
  let cut = clean.slice(0, Math.max(0, max - 1));
  // Never half a surrogate pair.
  if (/[\ud800-\udbff]$/.test(cut)) cut = cut.slice(0, -1);
  return `${cut}…`;
}

/** Whether a text is 1 to `max` characters long and has nothing that `printable` would remove. */
export function isPlain(text: string, max: number): boolean {
  return text.length > 0 && text.length <= max && !HIDDEN_ONCE.test(text);
}

/**
 * A copy of a JSON object that PostgreSQL's jsonb takes (see RFC 8259 §8.2) and a terminal may be shown: in names and texts
 * NUL, lone surrogates, control, escape and bidirectional characters become visible text such as `\u0000`, and what is
 * nested deeper than 32 levels an ellipsis.
 */
export function jsonbSafe(object: JsonObject): JsonObject {
  return safeObject(object, 1);
}

function safeValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return safeText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '…';
  return Array.isArray(value)
    ? value.map((element: unknown) => safeValue(element, depth + 1))
    : safeObject(value, depth + 1);
}

function safeObject(object: object, depth: number): JsonObject {
  // fromEntries defines own properties, so that a member named __proto__ stays a member.
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [safeText(name), safeValue(value, depth)]),
  );
}

function safeText(text: string): string {
  return text.replace(UNSTORABLE, (character) => {
    const hex = (character.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`;
  });
}
