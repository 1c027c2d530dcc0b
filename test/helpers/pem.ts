import { generateKeyPairSync, randomBytes } from 'node:crypto';

/** One PEM block (RFC 7468) of these bytes, with lines of 64 characters. */
export function pemBlock(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The bytes of the first PEM block of a text. */
export function derOf(pem: string): Buffer {
  const body = /-----BEGIN [^-]*-----([^-]*)-----END/.exec(pem)?.[1];
  if (body === undefined) throw new Error('There is no PEM block.');
  return Buffer.from(body, 'base64');
}

/**
 * What SQL takes for a CSR and a worker rejects: the frame of one DER SEQUENCE around random bytes. For
 * tests that need thousands and no worker.
 */
export function pemShapedLikeCsr(bytes = 300): string {
  const head = Buffer.from([0x30, 0x82, bytes >> 8, bytes & 0xff]);
  return pemBlock('CERTIFICATE REQUEST', Buffer.concat([head, randomBytes(bytes)]));
}

/** Private keys in every PEM form that people have, by the name of the form. */
export function privateKeys(): Record<string, string> {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const format = 'pem' as const;
  return {
    'PKCS #8': ec.export({ type: 'pkcs8', format }).toString(),
    'SEC 1 (EC)': ec.export({ type: 'sec1', format }).toString(),
    'PKCS #1 (RSA)': rsa.export({ type: 'pkcs1', format }).toString(),
    'PKCS #8 encrypted': ec
      .export({ type: 'pkcs8', format, cipher: 'aes-256-cbc', passphrase: 'secret' })
      .toString(),
    'PKCS #1 encrypted': rsa
      .export({ type: 'pkcs1', format, cipher: 'aes-256-cbc', passphrase: 'secret' })
      .toString(),
    // Node writes no OpenSSH keys; what stands in the block makes no difference.
    OpenSSH: pemBlock('OPENSSH PRIVATE KEY', randomBytes(400)),
  };
}
