import { get } from 'node:https';
import type { Pebble } from '../../src/local/pebble.ts';

/** What Pebble's management interface knows of a certificate. */
export interface CertificateStatus {
  Status: 'Valid' | 'Revoked';
  /** A number of RFC 5280 §5.3.1, where it is revoked and a reason was given. */
  Reason?: number;
}

/** Asks Pebble itself, not by ACME, what became of the certificate with this serial number (hex). */
export async function certificateStatus(
  { managementUrl, caPem }: Pick<Pebble, 'managementUrl' | 'caPem'>,
  serial: string,
): Promise<CertificateStatus> {
  const url = `${managementUrl}/cert-status-by-serial/${serial}`;
  const headers = { 'user-agent': 'pgacme' };
  const text = await new Promise<string>((resolve, reject) => {
    get(url, { ca: caPem, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => {
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`${url} answered ${String(response.statusCode)}: ${body}`));
      });
    }).once('error', reject);
  });
  return JSON.parse(text) as CertificateStatus;
}
