import type { Account } from './account.ts';
import { badAnswer, type HttpAnswer } from './answer.ts';
import { linkTargets } from './headers.ts';
import type { Call } from './http.ts';

const MAX_ALTERNATES = 16;

// One certificate and the white space around it; `y` so that nothing between two is skipped.
const BLOCK = /\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*/y;

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
 * RFC 8555 §11.4: a chain with anything in it but certificates is refused whole, since a server that
 * reads the file might take a key or a parameter from it. The body is never shown: it may be a key.
 */
function chainOf({ url, body }: HttpAnswer): string {
  const text = body.toString('latin1');
  const blocks: string[] = [];
  BLOCK.lastIndex = 0;
  while (BLOCK.lastIndex < text.length) {
    const base64 = BLOCK.exec(text)?.[1];
    if (base64 === undefined || base64.trim() === '') {
      throw badAnswer(url, 'something else than a chain of PEM certificates');
    }
    blocks.push(certificatePem(base64));
  }
  if (blocks.length === 0) throw badAnswer(url, 'an empty certificate chain');
  return blocks.join('');
}

function certificatePem(base64: string): string {
  const lines = base64.trim().replace(/\s+/g, '\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
