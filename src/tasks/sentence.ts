import { printable } from '../acme/index.ts';

/**
 * What a remote said, as a sentence of a reason: fit to be shown, its URLs last, and with one stop at its end,
 * whether it came with one or not, since another sentence may follow.
 */
export function sentence(text: string, max = 600): string {
  const said = printable(urlLast(printable(text, max)), max).replace(/[\s.]+$/u, '');
  return /[!?…]$/u.test(said) ? said : `${said}.`;
}

const URL = /https?:\/\/[^\s"'<>]*[^\s"'<>.,:;)]/gu;

/** URLs of CAs are long: where a line is cut behind one, the cause would be gone. */
export function urlLast(text: string): string {
  const urls = [...new Set(text.match(URL))];
  if (urls.length === 0) return text;
  const rest = text
    .replace(/^https?:\/\/[^\s"'<>]*[^\s"'<>.,:;)](?= )/u, 'The server')
    .replace(URL, '…')
    .replace(/[\s.]+$/u, '');
  return `${rest} (${urls.join(', ')})`;
}

/** Of an account that the server does not open with its key: what it means, and what to do. */
export const KEY_REPLACED =
  'the key was replaced elsewhere, or the account was closed there. Import a newer export of it under another name (pgacme account import), or insert another account; then acme.replace_account(old, new). acme.verify_account looks again.';
