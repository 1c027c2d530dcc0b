/** Tags of the ASN.1 types that CSRs and certificates are made of (X.690 §8). */
export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Bytes that are not DER, or not the structure asked for; `offset` is in bytes from the start. */
export class DerError extends Error {
  readonly code = 'ERR_DER';
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} (at byte ${offset})`);
    this.name = 'DerError';
    this.offset = offset;
  }
}

/** One tag-length-value: `der` is all of it, `content` the value, `offset` where the value starts. */
export interface Element {
  tag: number;
  content: Buffer;
  der: Buffer;
  offset: number;
}

/**
 * Reads DER (X.690 §10) from front to back, and nothing else: lengths are definite and minimal, tags
 * are single bytes. It is as strict as the CAs' own parsers, so that both sides see the same names.
 * Every method throws {@link DerError}; none reads a byte twice.
 */
export class DerReader {
  readonly #data: Buffer;
  readonly #base: number;
  #at = 0;

  constructor(data: Buffer, base = 0) {
    this.#data = data;
    this.#base = base;
  }

  /** True when nothing is left to read. */
  get done(): boolean {
    return this.#at === this.#data.length;
  }

  /** The tag of the next element, undefined at the end. */
  get tag(): number | undefined {
    return this.#data[this.#at];
  }

  /** Reads the next element, which must have this tag; `what` names it in the error. */
  next(tag: number, what: string): Element {
    if (this.tag !== tag) throw this.#error(`${what} is missing`);
    return this.any(what);
  }

  /** Reads the next element if it has this tag. */
  nextIf(tag: number, what: string): Element | undefined {
    return this.tag === tag ? this.any(what) : undefined;
  }

  /** Reads the next element and returns a reader of what it holds. */
  enter(tag: number, what: string): DerReader {
    return within(this.next(tag, what));
  }

  /** Reads the next element, whatever its tag. */
  any(what: string): Element {
    const start = this.#at;
    const tag = this.#data[start];
    if (tag === undefined) throw this.#error(`${what} is missing`);
    if ((tag & 0x1f) === 0x1f) throw this.#error(`${what} has a tag of several bytes`);
    const { length, from } = this.#length(start + 1, what);
    const end = from + length;
    if (end > this.#data.length) throw this.#error(`${what} goes past the end`);
    this.#at = end;
    return {
      tag,
      content: this.#data.subarray(from, end),
      der: this.#data.subarray(start, end),
      offset: this.#base + from,
    };
  }

  /** Throws unless everything has been read. */
  finish(what: string): void {
    if (!this.done) throw this.#error(`${what} has bytes left over`);
  }

  #length(at: number, what: string): { length: number; from: number } {
    const first = this.#data[at];
    if (first === undefined) throw this.#error(`${what} goes past the end`);
    if (first < 0x80) return { length: first, from: at + 1 };
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw this.#error(`${what} has a length that is not DER`);
    if (at + 1 + count > this.#data.length) throw this.#error(`${what} goes past the end`);
    const length = this.#data.readUIntBE(at + 1, count);
    if (length < (count === 1 ? 0x80 : 2 ** (8 * (count - 1)))) {
      throw this.#error(`${what} has a length that is not DER`);
    }
    return { length, from: at + 1 + count };
  }

  #error(what: string): DerError {
    return new DerError(what, this.#base + this.#at);
  }
}

/** A reader of what an element holds. */
export function within(element: Element): DerReader {
  return new DerReader(element.content, element.offset);
}

/** The dotted form of an OBJECT IDENTIFIER (X.690 §8.19); throws {@link DerError}. */
export function oid(element: Element): string {
  // The longest in use have some 20 bytes; an unknown one goes into a reason's text.
  if (element.content.length > 64) {
    throw new DerError('an object identifier is too long', element.offset);
  }
  const arcs: number[] = [];
  let arc = 0;
  let open = false;
  for (const byte of element.content) {
    if (!open && byte === 0x80) {
      throw new DerError('an object identifier is padded', element.offset);
    }
    arc = arc * 128 + (byte & 0x7f);
    if (arc > 2 ** 45) throw new DerError('an object identifier is too large', element.offset);
    open = byte >= 0x80;
    if (open) continue;
    if (arcs.length === 0) {
      const top = Math.min(2, Math.floor(arc / 40));
      arcs.push(top, arc - 40 * top);
    } else {
      arcs.push(arc);
    }
    arc = 0;
  }
  if (open || arcs.length === 0) throw new DerError('an object identifier is cut', element.offset);
  return arcs.join('.');
}

/** The bytes of an INTEGER that is not negative, without the leading zero; throws {@link DerError}. */
export function unsigned(element: Element): Buffer {
  const [first, second] = element.content;
  if (first === undefined) throw new DerError('an integer is empty', element.offset);
  if (first >= 0x80) throw new DerError('an integer is negative', element.offset);
  if (first !== 0 || second === undefined) return element.content;
  if (second < 0x80) throw new DerError('an integer is padded', element.offset);
  return element.content.subarray(1);
}

/** The bytes of a BIT STRING that is made of whole bytes; throws {@link DerError}. */
export function bits(element: Element): Buffer {
  if (element.content[0] !== 0) {
    throw new DerError('a bit string is not made of whole bytes', element.offset);
  }
  return element.content.subarray(1);
}
