import { readWorkerConfig } from '../cli-config.ts';
import { type Command, UsageError } from '../command.ts';
import { table } from '../table.ts';
import { usageLine } from '../usage.ts';

/** `pgacme account orders`. */
export const accountOrdersCommand: Command = {
  name: 'account orders',
  summary: "list an account's orders as its server has them, and which of them are known here",
  help: `Asks the server for the account's list of orders (RFC 8555 §7.1.2.1) and reads each: its URL, its state
there, when it expires, its names, and the order and csr of this database that it is, if any. Few CAs have
such a list, and those that do may leave out orders that came to nothing. Nothing is changed.

The key is opened with PGACME_SECRET_KEY; the login is a member of acme_owner.

Examples:
  pgacme account orders main
  pgacme account orders main --max 1000`,
  flags: {},
  options: {
    max: { value: 'NUMBER', text: 'how many orders to read at most: 100 unless given' },
  },
  args: ['NAME'],
  role: 'acme_owner',
  async run({ options, args, env, output }) {
    const [name = ''] = args;
    const { databaseUrl, secretKey } = readWorkerConfig(env);
    const { ordersAtServer } = await import('./orders-at-server.ts');
    const max = atMost(options.get('max') ?? '100');
    const list = await ordersAtServer({ databaseUrl, secretKey, name, max });
    if (list === undefined) {
      output.line(
        `The server has no list of orders for account ${name}: it offers none (RFC 8555 §7.1.2.1).`,
      );
      return 0;
    }
    const { orders, count } = list;
    const rows = orders.map(({ url, status, expires, names, order, csr }) => [
      url,
      status,
      expires,
      order === null ? '-' : String(order),
      csr === null ? '-' : String(csr),
      names.join(' '),
    ]);
    if (rows.length > 0) {
      const head = ['URL', 'STATUS', 'EXPIRES', 'ORDER', 'CSR', 'NAMES'];
      for (const line of table([head, ...rows])) output.line(line);
    }
    output.line(
      count > rows.length
        ? `${count} orders; shown are the last ${rows.length} of the list. --max shows more.`
        : `${count} ${count === 1 ? 'order' : 'orders'}`,
    );
    return 0;
  },
};

function atMost(text: string): number {
  if (/^[1-9][0-9]{0,5}$/.test(text)) return Number(text);
  throw new UsageError('--max takes a number from 1 to 999999.', usageLine(accountOrdersCommand));
}
