import { type Signed, spkiOf, thumbprintOf } from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
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
    if (known.status === 'valid') return accountAnswer(known, 200);
    throw new Refusal('unauthorized', `The account is ${known.status}.`, 403);
  }
  if (payload['onlyReturnExisting'] === true) {
    throw new Refusal('accountDoesNotExist', 'No account has this key.');
  }
  const terms = ca.options.termsOfService;
  if (terms !== undefined && payload['termsOfServiceAgreed'] !== true) {
    const link = { link: `<${terms}>;rel="terms-of-service"` };
    throw new Refusal(
      'userActionRequired',
      `The terms at ${terms} must be agreed to.`,
      403,
      {},
      link,
    );
  }
  const id = newId();
  const account: Account = {
    id,
    url: ca.link('account', id),
    jwk: signed.jwk,
    thumbprint,
    spki: spkiOf(signed.jwk),
    status: 'valid',
    contact: contacts(payload['contact'] ?? []),
  };
  ca.store.accounts.set(id, account);
  return accountAnswer(account, 201);
}

/** Fetch (§7.3.1), update (§7.3.2) and deactivate (§7.3.6) an account. */
export function account(_ca: Ca, signed: Signed, id: string): Answer {
  const own = accountOf(signed);
  if (own.id !== id) throw new Refusal('unauthorized', 'This is another account.', 403);
  if (signed.payload) {
    const { status, contact } = signed.payload;
    if (status === 'deactivated') own.status = 'deactivated';
    else if (contact !== undefined) own.contact = contacts(contact);
    else throw new Refusal('malformed', 'An update holds contact, or the status deactivated.');
  }
  return accountAnswer(own, 200);
}

function accountAnswer({ status, contact, url }: Account, code: number): Answer {
  return { status: code, headers: { location: url }, json: { status, contact } };
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
