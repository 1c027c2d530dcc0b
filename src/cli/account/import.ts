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
sentence says why. A server that has no row in acme.server gets one. The login is a member of acme_owner.

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
    const { accountVault } = await import('../../db/account-files.ts');
    const { readIncoming } = await import('./incoming.ts');
    const { takeIn } = await import('./take-in.ts');
    const incoming = await readIncoming(file, options.get('passphrase-file'));
    output.line(`Read ${incoming.what}${incoming.url === undefined ? '' : `, ${incoming.url}`}`);
    const vault = await accountVault(databaseUrl, 'pgacme account import');
    try {
      const { row, isNewServer } = await takeIn(vault, incoming, {
        secretKey,
        name: options.get('name'),
        server: options.get('server'),
      });
      output.line(
        `Server ${row.server.name}, ${row.server.directory_url}${isNewServer ? ': inserted' : ''}`,
      );
      output.line(`The key is the live one of ${row.url}, which is valid.`);
      for (const record of incoming.records) {
        output.line(`In DNS, to stay while this account issues: ${record}`);
      }
      output.line(`Account ${row.name} is there, and csrs can use it.`);
    } finally {
      await vault.close();
    }
    return 0;
  },
};
