import type { Seen } from './raw-ca.ts';

/** The decoded header and payload of a JWS as it was sent; neither is verified. */
export function decoded(jws: unknown): { header: Record<string, unknown>; payload: string } {
  const { protected: head, payload } = jws as Record<'protected' | 'payload', string>;
  const text = (part: string) => Buffer.from(part, 'base64url').toString();
  return { header: JSON.parse(text(head)) as Record<string, unknown>, payload: text(payload) };
}

/** The same of a request. */
export function jws(seen: Seen | undefined) {
  return decoded(JSON.parse(seen?.body ?? '{}'));
}
