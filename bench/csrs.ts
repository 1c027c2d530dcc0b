import { randomBytes, webcrypto } from 'node:crypto';
import { makeCsr } from '#src/x509/index';
import { writePem } from '#src/x509/pem';

let names = 0;
const run = randomBytes(3).toString('hex');

/** Real CSRs, each for a name of its own. They share a key, which nobody minds and saves most of the time. */
export async function makeCsrs(count: number): Promise<{ name: string; pem: string }[]> {
  const key = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const made = [];
  for (let i = 0; i < count; i++) {
    const name = `bench-${++names}-${run}.example.org`;
    made.push({ name, pem: (await makeCsr({ names: [name], key })).pem });
  }
  return made;
}

/** What SQL takes for a CSR, of a usual size: one DER SEQUENCE around random bytes. No worker may run. */
export function shapedLikeCsr(bytes = 240): string {
  const head = Buffer.from([0x30, 0x82, bytes >> 8, bytes & 0xff]);
  return writePem('CERTIFICATE REQUEST', Buffer.concat([head, randomBytes(bytes)]));
}
