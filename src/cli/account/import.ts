import type { ServerRow } from '../../db/owner/account-files.ts';
import { readWorkerConfig } from '../cli-config.ts';
import type { Command } from '../command.ts';

/** `pgacme account import`. */
export const accountImportCommand: Command = {
  name: 'account import',
  summary: 'take in an account: an export of pgacme, or the files of another ACME client',
  help: `FILE is what pgacme account export wrote, or a file or folder of certbot, lego, acme.sh, dehydrated or
Caddy; whose it is shows in its content. A private key alone (PEM or JWK) is enough where --server
names the server.

The server is asked first: whether the key is the live one, and of which account. Only then the
account is inserted, valid at once, with its key sealed by PGACME_SECRET_KEY; else nothing is, and a
sentence says why. A server that has no row in acme.server gets one, with the CA bundle and the allowed
hosts of the file, which is said. The login is a member of acme_owner.

Examples:
  pgacme account import main.json --passphrase-file passphrase.txt
  pgacme account import /etc/letsencrypt/accounts --name main
  pgacme account import ~/.lego/accounts/ca.example.org/ops@example.org --server internal`,
  flags: {},
  options: {
    name: { value: 'NAME', text: 'the name of the account here; else as exported, or the client' },
    server: {
      value: 'NAME',
      text: 'its server, by the name in acme.server; else as the files say',
    },
    'passphrase-file': { value: 'FILE', text: 'the passphrase of an export of pgacme' },
  },
  args: ['FILE'],
  role: 'acme_owner',
  async run({ options, args, env, output }) {
    const [file = ''] = args;
    const { databaseUrl, secretKey } = readWorkerConfig(env);
    const { accountVault } = await import('../../db/owner/account-files.ts');
    const { printable } = await import('../../acme/index.ts');
    const { readIncoming } = await import('./incoming.ts');
    const { takeIn } = await import('./take-in.ts');
    const incoming = await readIncoming(file, options.get('passphrase-file'));
    // What others wrote, the server's URL of the account included, is theirs to word, but not to act on a terminal.
    const say = (text: string) => output.line(printable(text, 5000));
    say(`Read ${incoming.what}${incoming.url === undefined ? '' : `, ${incoming.url}`}`);
    const vault = await accountVault(databaseUrl, 'pgacme account import');
    try {
      const { row, isNewServer } = await takeIn(vault, incoming, {
        secretKey,
        name: options.get('name'),
        server: options.get('server'),
      });
      say(
        `Server ${row.server.name}, ${row.server.directory_url}${isNewServer ? ': inserted' : ''}`,
      );
      if (isNewServer) for (const sentence of trustOf(row.server)) say(sentence);
      say(`The key is the live one of ${row.url}, which is valid.`);
      for (const record of incoming.records) {
        say(`In DNS, to stay while this account issues: ${record}`);
      }
      output.line(`Account ${row.name} is there, and csrs can use it.`);
    } finally {
      await vault.close();
    }
    return 0;
  },
};

/** What a server that is made from a file is trusted with beyond its directory URL. */
function trustOf({ ca_bundle, allowed_hosts }: ServerRow): string[] {
  return [
    ...(ca_bundle === null
      ? []
      : ['Its HTTPS is trusted by the CA bundle that came with the file.']),
    ...(allowed_hosts.length === 0
      ? []
      : [
          `Its URLs may also name these hosts, which came with the file: ${allowed_hosts.join(' ')}`,
        ]),
  ];
}
