import { printable } from '../acme/index.ts';

/**
 * What a remote said, as a sentence of a reason: fit to be shown, and with one stop at its end, whether it came
 * with one or not, since another sentence may follow.
 */
export function sentence(text: string, max = 600): string {
  const said = printable(text, max).replace(/[\s.]+$/u, '');
  return /[!?…]$/u.test(said) ? said : `${said}.`;
}
