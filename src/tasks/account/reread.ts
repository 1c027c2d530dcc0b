import {
  type Account,
  AcmeError,
  AcmeProblem,
  AcmeTrouble,
  downloadCertificate,
  getOrder,
  listOrders,
  type Order,
} from '../../acme/index.ts';
import type { AccountClaim, Claim, CsrOfOrder, ReadOrder } from '../../db/steps/steps.ts';
import { csrDer, verifyIssued } from '../../x509/index.ts';
import { certificateFacts } from '../certificate/certificate-facts.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';

/** An order for each URL; those of a few thousand csrs that were renewed for years are fewer. */
const MAX_ORDERS = 100_000;

/**
 * After a restore: reads the account's list of orders (RFC 8555 §7.1.2.1), where it has one, and then, a
 * few orders at each turn, those that the database does not know. A certificate that such an order brought
 * for a csr of ours is taken in place of ordering it once more. What is known by then is not looked at again,
 * so that a turn that was lost costs itself alone.
 */
export async function reread(claim: AccountClaim, hold: Hold): Promise<Claim[]> {
  const account = await hold.accounts.signer(claim);
  if (claim.listed === null) await readList(claim, account, hold);
  else await readOrders(claim, claim.listed, account, hold);
  return [];
}

async function readList(
  claim: AccountClaim,
  account: Account,
  { steps, call }: Hold,
): Promise<void> {
  try {
    const urls = await remote('orders.list', () =>
      listOrders(account, { ...call, max: MAX_ORDERS }),
    );
    await steps.ordersListed(claim, urls);
  } catch (error) {
    if (!(error instanceof AcmeError)) throw error;
    if (error instanceof AcmeTrouble && error.code === 'ERR_ACME_UNSUPPORTED') {
      return steps.ordersListed(claim, null);
    }
    if (!claim.is_late) throw error;
    await steps.ordersListed(claim, null, error.message);
  }
}

async function readOrders(
  claim: AccountClaim,
  urls: string[],
  account: Account,
  { steps, call }: Hold,
): Promise<void> {
  const fetched = await Promise.all(
    urls.map((url) =>
      orNothing(claim, async () => {
        const answer = await remote('orders.look', () => getOrder(account, url, call));
        return { url, order: answer.value };
      }),
    ),
  );
  const valid = fetched.filter((one) => one?.order.status === 'valid').filter(isThere);
  const csrs = await steps.csrsOfOrders(
    claim,
    valid.map(({ order }) => namesOf(order)),
  );
  const found = await Promise.all(
    valid.map(async ({ url, order }, at) => {
      const wanted = csrs.filter((csr) => csr.at === at);
      const certificateUrl = order.certificate;
      if (wanted.length === 0 || certificateUrl === undefined) return undefined;
      return orNothing(claim, async () => {
        const { chainPem } = await remote('orders.download', () =>
          downloadCertificate(account, certificateUrl, call),
        );
        return certificateOf(wanted, { url, order, certificateUrl, chainPem });
      });
    }),
  );
  const results = new Map<string, ReadOrder>(urls.map((url) => [url, { url }]));
  for (const one of found.filter(isThere)) results.set(one.url, one);
  await steps.ordersRead(claim, [...results.values()]);
}

/** The csr that has the key and the names of the certificate; undefined: none. */
async function certificateOf(
  csrs: CsrOfOrder[],
  read: { url: string; order: Order; certificateUrl: string; chainPem: string },
): Promise<ReadOrder | undefined> {
  const { url, order, certificateUrl, chainPem } = read;
  for (const { csr_id, pem, identifiers } of csrs) {
    const verdict = await verifyIssued({ chainPem, csrDer: csrDer(pem), identifiers });
    if (verdict.ok) {
      return {
        url,
        csr_id,
        finalize_url: order.finalize,
        expires_at: order.expires,
        certificate: certificateFacts(verdict.certificate, certificateUrl),
      };
    }
  }
  return undefined;
}

/** An order that the server lists and does not give brings nothing; the others are looked at. */
async function orNothing<T>(
  { is_late: isLate }: AccountClaim,
  read: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof AcmeError && (isLate || isOfOrder(error))) return undefined;
    throw error;
  }
}

function isOfOrder(error: AcmeError): boolean {
  if (error instanceof AcmeProblem) return error.status === 404 || error.is('malformed');
  return error instanceof AcmeTrouble && (error.status === 404 || WRONG.includes(error.code));
}

const WRONG: readonly string[] = [
  'ERR_ACME_BAD_ANSWER',
  'ERR_ACME_NOT_JSON',
  'ERR_ACME_FORBIDDEN_URL',
];

/** As a csr has its names: lower case, sorted. */
function namesOf({ identifiers }: Order): string[] {
  return [...new Set(identifiers.map(({ value }) => value.toLowerCase()))].sort();
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}
