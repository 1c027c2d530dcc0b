import { X509Error } from './errors.ts';

/** One block of a PEM text (RFC 7468 §2). */
export interface PemBlock {
  label: string;
  der: Buffer;
}

const BEGIN = '-----BEGIN ';
const DASHES = '-----';

/**
 * Reads all blocks of a PEM text (RFC 7468). Text outside of them is explanatory (§5.2) and ignored, as is
 * white space within the base64; all else must be exact. Throws {@link X509Error} `ERR_X509_PEM`; takes time linear in the text.
 */
export function readPem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let at = 0;
  for (;;) {
    const begin = text.indexOf(BEGIN, at);
    if (begin === -1) return blocks;
    const labelEnd = text.indexOf(DASHES, begin + BEGIN.length);
    const label = text.slice(begin + BEGIN.length, labelEnd);
    if (labelEnd === -1 || !/^[A-Z0-9 ]{1,64}$/.test(label)) {
      throw new X509Error('ERR_X509_PEM', 'a BEGIN line is damaged');
    }
    const end = `${DASHES}END ${label}${DASHES}`;
    const bodyEnd = text.indexOf(end, labelEnd);
    if (bodyEnd === -1) throw new X509Error('ERR_X509_PEM', `the ${label} block has no END line`);
    blocks.push({ label, der: decode(text.slice(labelEnd + DASHES.length, bodyEnd), label) });
    at = bodyEnd + end.length;
  }
}

/** Writes one PEM block with lines of 64 characters, each ended by a line feed (RFC 7468 §2). */
export function writePem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString('base64');
  let lines = '';
  for (let at = 0; at < base64.length; at += 64) lines += `${base64.slice(at, at + 64)}\n`;
  return `${BEGIN}${label}${DASHES}\n${lines}${DASHES}END ${label}${DASHES}\n`;
}

function decode(body: string, label: string): Buffer {
  const text = body.replace(/[ \t\r\n]+/g, '');
  const der = Buffer.from(text, 'base64');
  // Node skips what is not base64; only a text that comes back the same was all base64.
  if (text === '' || der.toString('base64') !== text) {
    throw new X509Error('ERR_X509_PEM', `the ${label} block is not base64`);
  }
  return der;
}
