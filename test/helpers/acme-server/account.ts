import { externalBinding } from './external-account.ts';
import { type Signed, spkiOf, thumbprintOf } from './jws.ts';
import { type Answer, type JsonObject, Refusal } from './problem.ts';
import { type Account, type Ca, newId } from './store.ts';

/** The account that signed; every resource but newAccount and revokeCert has one. */
export function accountOf(signed: Signed): Account {
  if (!signed.account) throw new Refusal('unauthorized', 'This resource wants an account.', 403);
  return signed.account;
}

/** RFC 8555 §7.3, and §7.3.1 for onlyReturnExisting. */
export async function newAccount(ca: Ca, signed: Signed): Promise<Answer> {
  const payload = signed.payload ?? {};
  const thumbprint = await thumbprintOf(signed.jwk);
  const known = ca.store.accountByThumbprint(thumbprint);
  if (known) {
    if (known.status === 'valid') return accountAnswer(ca, known, 200);
    throw new Refusal('unauthorized', `The account is ${known.status}.`, 403);
  }
  if (payload['onlyReturnExisting'] === true) {
    throw new Refusal('accountDoesNotExist', 'No account has this key.');
  }
  const terms = ca.options.termsOfService;
  if (terms !== undefined && payload['termsOfServiceAgreed'] !== true) throw disagreed(terms);
  const binding = await externalBinding(ca, signed);
  const id = newId();
  const account: Account = {
    id,
    url: ca.link('account', id),
    jwk: signed.jwk,
    thumbprint,
    spki: spkiOf(signed.jwk),
    status: 'valid',
    contact: contacts(payload['contact'] ?? []),
    agreedTerms: terms,
    ...(binding === undefined ? {} : { externalAccountBinding: binding }),
  };
  ca.store.accounts.set(id, account);
  return accountAnswer(ca, account, 201);
}

/** Fetch (§7.3.1), update (§7.3.2), agree to changed terms (§7.3.3), and deactivate (§7.3.6). */
export function account(ca: Ca, signed: Signed, id: string): Answer {
  const own = accountOf(signed);
  if (own.id !== id) throw new Refusal('unauthorized', 'This is another account.', 403);
  if (signed.payload) {
    const { status, contact, termsOfServiceAgreed } = signed.payload;
    if (status === 'deactivated') own.status = 'deactivated';
    else if (contact !== undefined) own.contact = contacts(contact);
    else if (termsOfServiceAgreed !== true) {
      throw new Refusal(
        'malformed',
        'An update holds contact, consent, or the status deactivated.',
      );
    }
    if (termsOfServiceAgreed === true && ca.options.termsByUpdate) {
      own.agreedTerms = ca.options.termsOfService;
    }
  }
  return accountAnswer(ca, own, 200);
}

/** The orders of an account, page by page (§7.1.2.1). */
export function orders(ca: Ca, signed: Signed, id: string, page = '0'): Answer {
  const own = accountOf(signed);
  const { ordersPerPage = 0 } = ca.options;
  if (own.id !== id) throw new Refusal('unauthorized', 'This is another account.', 403);
  if (ordersPerPage === 0) throw new Refusal('malformed', 'There are no lists of orders.', 404);
  const urls = [...ca.store.orders.values()]
    .filter((order) => order.account === own)
    .map((order) => ca.link('order', order.id));
  const from = Number(page) * ordersPerPage;
  const next = `<${ca.link('orders', id, String(Number(page) + 1))}>;rel="next"`;
  return {
    status: 200,
    headers: from + ordersPerPage < urls.length ? { link: [next] } : {},
    json: ca.options.ordersAsArray
      ? urls.slice(from, from + ordersPerPage)
      : { orders: urls.slice(from, from + ordersPerPage) },
  };
}

/** RFC 8555 §7.3.3: once the terms have changed, an account orders nothing before it agrees anew. */
export function checkTerms(ca: Ca, account: Account): void {
  const terms = ca.options.termsOfService;
  if (terms === undefined || account.agreedTerms === terms) return;
  throw disagreed(terms, { instance: `https://ca.example/agree/${account.id}` });
}

function disagreed(terms: string, more: JsonObject = {}): Refusal {
  const link = { link: `<${terms}>;rel="terms-of-service"` };
  const detail = `The terms at ${terms} must be agreed to.`;
  return new Refusal('userActionRequired', detail, 403, more, link);
}

/** An account as it is shown. */
export function accountAnswer(ca: Ca, account: Account, code: number): Answer {
  const { status, contact, url, id, externalAccountBinding } = account;
  const { keepsContacts, ordersPerPage } = ca.options;
  return {
    status: code,
    headers: { location: url },
    json: {
      status,
      ...(keepsContacts ? { contact } : {}),
      ...(ordersPerPage === undefined ? {} : { orders: ca.link('orders', id) }),
      externalAccountBinding,
    },
  };
}

function contacts(value: unknown): string[] {
  if (!Array.isArray(value)) throw new Refusal('malformed', 'contact is not an array.');
  return value.map((contact) => {
    if (typeof contact !== 'string' || !contact.startsWith('mailto:')) {
      throw new Refusal('unsupportedContact', 'A contact is a mailto: URL.');
    }
    // RFC 8555 §7.3: one address, no header fields.
    if (!/^mailto:[^\s,?@]+@[^\s,?@]+\.[^\s,?@]+$/.test(contact)) {
      throw new Refusal('invalidContact', 'A mailto: contact is one address.');
    }
    return contact;
  });
}
