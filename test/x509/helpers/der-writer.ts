/** Writes one DER element whose content is the parts one after the other. */
export function tlv(tag: number, ...parts: (Buffer | string)[]): Buffer {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1')));
  return Buffer.concat([Buffer.of(tag), length(content.length), content]);
}

function length(size: number): Buffer {
  if (size < 0x80) return Buffer.of(size);
  const bytes: number[] = [];
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

export const sequence = (...parts: Buffer[]): Buffer => tlv(0x30, ...parts);
export const set = (...parts: Buffer[]): Buffer => tlv(0x31, ...parts);
export const octets = (...parts: Buffer[]): Buffer => tlv(0x04, ...parts);
export const bitString = (content: Buffer): Buffer => tlv(0x03, Buffer.of(0), content);
export const nothing: Buffer = tlv(0x05);

/** A positive INTEGER from its bytes. */
export function integer(bytes: Buffer): Buffer {
  return (bytes[0] ?? 0) >= 0x80 ? tlv(0x02, Buffer.of(0), bytes) : tlv(0x02, bytes);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      digits.unshift(0x80 | (left % 128));
    }
    return digits;
  });
  return tlv(0x06, Buffer.from(bytes));
}

/** An extension from its dotted identifier and the DER of its value. */
export function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), octets(value));
}

/** A GeneralName of type dNSName; the text's characters are its bytes. */
export const dns = (name: Buffer | string): Buffer => tlv(0x82, name);

/** A subjectAltName extension. */
export const altNames = (...names: Buffer[]): Buffer => extension('2.5.29.17', sequence(...names));
