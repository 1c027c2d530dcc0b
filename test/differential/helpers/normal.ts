/** What differs from run to run is told by its class: times, URLs, tokens, keys; sentences are left out. */
export class Normal {
  readonly #database: string;
  readonly #now: () => number;

  constructor(database: string, now: () => number) {
    this.#database = database;
    this.#now = now;
  }

  /** How far a time is from now, in steps that jitter does not cross. */
  time(value: Date | string | null): string | null {
    if (value === null) return null;
    if (value === 'infinity' || (typeof value !== 'string' && Number.isNaN(value.getTime()))) {
      return 'never';
    }
    const seconds = (new Date(value).getTime() - this.#now()) / 1000;
    return seconds <= 0 ? `${span(-seconds)} ago` : `in ${span(seconds)}`;
  }

  tenant(name: string | null): string | null {
    return name === null ? null : name.replace(`${this.#database}_`, '');
  }

  /** A value of json, in short; undefined: it says nothing; empty: that it is there is all it says. */
  value(value: unknown, key = ''): string | undefined {
    if (value === null || value === undefined) return undefined;
    if (typeof value === 'string') return this.#text(value);
    if (typeof value === 'boolean') return String(value);
    if (typeof value === 'number') return /id$/.test(key) ? undefined : String(value);
    if (Array.isArray(value)) {
      return `[${value.map((each) => this.value(each) ?? '-').join(', ')}]`;
    }
    return this.members(value as Record<string, unknown>);
  }

  members(value: Record<string, unknown>): string {
    const parts = Object.entries(value)
      // A problem's words are the CA's own; there is one way of proof.
      .filter(([key, each]) => key !== 'detail' && each !== 'http-01')
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([key, each]) => {
        const told = this.value(each, key);
        return told === undefined ? [] : [told === '' ? key : `${key} ${told}`];
      });
    return `{${parts.join(', ')}}`;
  }

  #text(text: string): string {
    const plain = text
      .replaceAll(`${this.#database}_`, '')
      .replaceAll(this.#database, 'database')
      .replace('urn:ietf:params:acme:error:', '');
    if (/^\d{4}-\d\d-\d\d[T ]/.test(plain)) return this.time(plain) ?? '';
    if (/^https?:/.test(plain)) return '';
    if (plain.includes('-----BEGIN')) return '';
    if (/\s/.test(plain)) return '';
    if (/^(?:\\x)?[0-9a-f]{16,}$/.test(plain)) return '';
    if (/^[\w-]{40,}$|^[\w-]{20,}\.[\w-]{20,}$/.test(plain)) return '';
    return plain;
  }
}

const SPANS: readonly (readonly [number, string])[] = [
  [20, 'seconds'],
  [400, 'minutes'],
  [5000, 'an hour'],
  [20_000, 'hours'],
  [130_000, 'a day'],
  [12 * 86_400, 'days'],
  [35 * 86_400, 'a month'],
  [100 * 86_400, 'months'],
];

function span(seconds: number): string {
  return SPANS.find(([limit]) => seconds <= limit)?.[1] ?? 'years';
}
