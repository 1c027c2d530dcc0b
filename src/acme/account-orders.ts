import { type Account, getAccount } from './account.ts';
import { badAnswer, type HttpAnswer, jsonValueOf } from './answer.ts';
import { isUrlText } from './guards.ts';
import { linkTargets } from './headers.ts';
import type { Call } from './http.ts';
import { AcmeTrouble, isObject } from './problem.ts';
import { printable } from './text.ts';

const MAX_ORDERS = 10_000;

/**
 * The URLs of the account's orders (RFC 8555 §7.1.2.1), at most `max` (default 10,000): reads the account,
 * then one page after the other, up to one that names no order that was not named before. Few CAs have the
 * list: ERR_ACME_UNSUPPORTED where the account has no `orders`. CAs may leave out orders that are invalid.
 */
export async function listOrders(
  account: Account,
  call: Call & { max?: number } = {},
): Promise<string[]> {
  const { server } = account;
  const { max = MAX_ORDERS } = call;
  const { orders } = await getAccount(account, call);
  if (orders === undefined) {
    throw new AcmeTrouble(
      'ERR_ACME_UNSUPPORTED',
      `The account ${printable(account.url, 200)} has no list of orders; this CA does not offer it.`,
    );
  }
  const found = new Set<string>();
  const seen = new Set<string>();
  let page: string | undefined = orders;
  while (page !== undefined && found.size < max) {
    if (seen.has(page)) throw badAnswer(orders, 'with a list of orders that does not end');
    seen.add(page);
    const before = found.size;
    const answer = await server.fetch(account, page, call);
    for (const url of urlsOf(answer)) found.add(url);
    // Each page brings one order or more, so that `max` bounds the pages as well.
    if (found.size === before) break;
    page = linkTargets(answer.headers, 'next', page)[0];
  }
  return [...found].slice(0, max);
}

/** The orders of a page (RFC 8555 §7.1.2.1); Smallstep's library sends a bare array, or null for none. */
function urlsOf(answer: HttpAnswer): string[] {
  const value = jsonValueOf(answer);
  const orders = isObject(value) ? value['orders'] : value;
  if (orders === null) return [];
  if (Array.isArray(orders) && orders.every(isUrlText)) return orders;
  throw badAnswer(answer.url, 'with "orders" missing or not a list of URLs');
}
