import {
  AcmeError,
  AcmeTrouble,
  getOrder,
  listOrders,
  printable,
  Server,
} from '../../acme/index.ts';
import { type OrderBook, orderBook } from '../../db/owner/account-orders.ts';
import { PgacmeError } from '../../errors.ts';
import { sealedAccountKeys } from '../../secrets/account-keys.ts';
import { sealingKeys } from '../../secrets/seal.ts';

const SIDE_BY_SIDE = 8;
const TIMEOUT_MS = 30_000;

/** An order of the list, and what it is here; null: the database does not know it. */
export interface ListedOrder {
  url: string;
  /** As the server says; a sentence where it does not give the order. */
  status: string;
  expires: string;
  names: string[];
  order: string | null;
  csr: string | null;
}

/**
 * Reads an account's list of orders at its server, and the last `max` of them. undefined: the server has no
 * such list.
 *
 * @throws PgacmeError ERR_ACCOUNT for an account that is not there or not registered, ERR_HELD in a copy.
 */
export async function ordersAtServer(asked: {
  databaseUrl: string | undefined;
  secretKey: string;
  name: string;
  max: number;
}): Promise<{ count: number; orders: ListedOrder[] } | undefined> {
  const { name, max } = asked;
  const book = await orderBook(asked.databaseUrl, 'pgacme account orders');
  let server: Server | undefined;
  try {
    const { record, account } = await signer(book, asked);
    server = account.server;
    const urls = await listOrders(account, { timeoutMs: TIMEOUT_MS, max: 100_000 }).catch(
      (error: unknown) => {
        if (error instanceof AcmeTrouble && error.code === 'ERR_ACME_UNSUPPORTED') return undefined;
        throw error instanceof AcmeError ? unanswered(name, error) : error;
      },
    );
    if (urls === undefined) return undefined;
    const shown = urls.slice(-max);
    const known = new Map((await book.known(record.id, shown)).map((row) => [row.url, row]));
    const orders: ListedOrder[] = [];
    for (let from = 0; from < shown.length; from += SIDE_BY_SIDE) {
      const read = shown.slice(from, from + SIDE_BY_SIDE).map(async (url) => ({
        url,
        ...(await lookAt(() => getOrder(account, url, { timeoutMs: TIMEOUT_MS }))),
        order: known.get(url)?.order ?? null,
        csr: known.get(url)?.csr ?? null,
      }));
      orders.push(...(await Promise.all(read)));
    }
    return { count: urls.length, orders };
  } finally {
    await server?.close();
    await book.close();
  }
}

async function signer(book: OrderBook, { name, secretKey }: { name: string; secretKey: string }) {
  const found = await book.account(name);
  if (found === undefined) {
    throw new PgacmeError(
      'ERR_ACCOUNT',
      `There is no account ${JSON.stringify(name)}; select name from acme.account lists them.`,
    );
  }
  const { record, hold } = found;
  if (hold !== null) throw new PgacmeError('ERR_HELD', hold);
  const { url, jwe } = record;
  if (url === null || jwe === null) {
    throw new PgacmeError(
      'ERR_ACCOUNT',
      `The account ${name} is not registered, and has no orders.`,
    );
  }
  const { directory_url: directoryUrl, ca_bundle: caBundle } = record.server;
  const owner = { account: name, origin: new URL(directoryUrl).origin };
  const key = await sealedAccountKeys(await sealingKeys(secretKey)).open(owner, jwe);
  const server = new Server({
    directoryUrl,
    allowedHosts: record.server.allowed_hosts,
    ...(caBundle === null ? {} : { caBundle }),
  });
  return { record, account: { server, url, key } };
}

async function lookAt(
  read: () => ReturnType<typeof getOrder>,
): Promise<Pick<ListedOrder, 'status' | 'expires' | 'names'>> {
  try {
    const { status, expires = '', identifiers } = (await read()).value;
    return {
      status,
      expires: printable(expires, 40),
      names: identifiers.map(({ value }) => printable(value, 253)).sort(),
    };
  } catch (error) {
    if (!(error instanceof AcmeError)) throw error;
    return { status: `not given: ${printable(error.message, 200)}`, expires: '', names: [] };
  }
}

function unanswered(name: string, error: AcmeError): PgacmeError {
  return new PgacmeError(
    'ERR_ACCOUNT',
    `The orders of account ${name} cannot be listed: ${printable(error.message, 300)}`,
    { cause: error },
  );
}
