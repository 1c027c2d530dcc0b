import { X509Error } from '../x509/errors.ts';
import { type PemBlock, readPem, writePem } from '../x509/pem.ts';
import type { Account } from './account.ts';
import { badAnswer, type HttpAnswer } from './answer.ts';
import { linkTargets } from './headers.ts';
import type { Call } from './http.ts';

const MAX_ALTERNATES = 16;

/**
 * Downloads a certificate (RFC 8555 §7.4.2): `chainPem` has the certificate first, then its issuers,
 * with LF and no empty lines; `alternates` the URLs of the same certificate with other chains. That the
 * certificate is the one asked for is the caller's to check.
 */
export async function downloadCertificate(
  account: Account,
  url: string,
  call: Call = {},
): Promise<{ chainPem: string; alternates: string[] }> {
  const { server } = account;
  const answer = await server.fetch(account, url, call, 'pem');
  const alternates = linkTargets(answer.headers, 'alternate', url)
    // A chain nobody may fetch is no choice.
    .filter((alternate) => server.allows(alternate))
    .slice(0, MAX_ALTERNATES);
  return { chainPem: chainOf(answer), alternates };
}

/**
 * RFC 8555 §11.4: a chain with a block of another kind is refused whole, since it may be a key or parameters. Text
 * around the certificates, which some CAs write there, is left out. The body is never shown: it may be a key.
 */
function chainOf({ url, body }: HttpAnswer): string {
  const blocks = blocksOf(body.toString('latin1'));
  if (blocks?.every(({ label }) => label === 'CERTIFICATE') !== true) {
    throw badAnswer(url, 'something else than a chain of PEM certificates');
  }
  if (blocks.length === 0) throw badAnswer(url, 'an empty certificate chain');
  return blocks.map(({ label, der }) => writePem(label, der)).join('');
}

function blocksOf(text: string): PemBlock[] | undefined {
  try {
    return readPem(text);
  } catch (error) {
    if (error instanceof X509Error) return undefined;
    throw error;
  }
}
