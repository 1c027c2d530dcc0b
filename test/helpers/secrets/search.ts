// Long enough that none is there by chance; two of them fit wherever 32 bytes are written down.
const PIECE = 16;

/**
 * Which of the secrets are in which of the places, in any of the forms that programs write bytes in: raw, hex,
 * base64 and base64url, also as a part of something longer (a JWK, DER in PEM).
 *
 * Pieces are looked for, not a form as a whole: text is broken into lines, and what PostgreSQL stores into pages.
 */
export function found(
  secrets: Record<string, Buffer>,
  places: Record<string, Buffer>,
): { secret: string; place: string }[] {
  const pieces = new Map<string, string>();
  // Whether a piece begins with these two bytes: nearly all of what is read ends the question here.
  const begins = new Uint8Array(65_536);
  for (const [secret, bytes] of Object.entries(secrets)) {
    for (const form of formsOf(bytes)) {
      for (let at = 0; at + PIECE <= form.length; at += PIECE) {
        pieces.set(form.toString('latin1', at, at + PIECE), secret);
        begins[form.readUInt16BE(at)] = 1;
      }
    }
  }
  return Object.entries(places).flatMap(([place, bytes]) => {
    const there = new Set<string>();
    for (let at = 0; at + PIECE <= bytes.length; at += 1) {
      if (begins[((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)] !== 1) continue;
      const secret = pieces.get(bytes.toString('latin1', at, at + PIECE));
      if (secret !== undefined) there.add(secret);
    }
    return [...there].map((secret) => ({ secret, place }));
  });
}

/** How the bytes are written; of base64 there is one for each third byte at which they can begin. */
function formsOf(bytes: Buffer): Buffer[] {
  const hex = bytes.toString('hex');
  const encoded = [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
    // Without the digits that also hold what is before or after.
    const inner = text.slice(before === 0 ? 0 : 4, -4);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
  return [bytes, ...[hex, hex.toUpperCase(), ...encoded].map((text) => Buffer.from(text))];
}
