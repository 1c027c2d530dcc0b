import { readWorkerConfig } from '../cli-config.ts';
import type { Command } from '../command.ts';
import { readSecret } from '../secret-input.ts';

/** `pgacme account export`. */
export const accountExportCommand: Command = {
  name: 'account export',
  summary: 'write an account with its key into a file that only a passphrase opens',
  help: `Writes one file with all that the account's next owner, or a restored backup, needs: server, account
URL, key, contacts, and the texts of DNS records that name the account. The passphrase (12 characters
or more) seals it; whoever has both can issue certificates with the account, so keep them apart. What
the file is of stands in it in clear. It is never written over another file.

The key is opened with PGACME_SECRET_KEY; the login is a member of acme_owner. The account goes on
as before, here as well. See docs/account-files.md for a hand-over.

Examples:
  openssl rand -base64 24 > passphrase.txt
  pgacme account export main --out main.json --passphrase-file passphrase.txt`,
  flags: {},
  options: {
    out: { value: 'FILE', text: 'the file to make', isRequired: true },
    'passphrase-file': { value: 'FILE', text: 'the file with the passphrase', isRequired: true },
  },
  args: ['NAME'],
  role: 'acme_owner',
  async run({ options, args, env, output }) {
    const [name = ''] = args;
    const file = options.get('out') ?? '';
    const { databaseUrl, secretKey } = readWorkerConfig(env);
    const passphrase = await readSecret(options.get('passphrase-file'), 'The passphrase');
    const { makeFile } = await import('../new-file.ts');
    const { accountVault } = await import('../../db/owner/account-files.ts');
    const { sealAccountFile } = await import('../../account-file/index.ts');
    const { takeAccount } = await import('./take-account.ts');
    let isDead = false;
    const vault = await accountVault(databaseUrl, 'pgacme account export');
    try {
      await makeFile(file, async () => {
        const { account, note, dead } = await takeAccount(vault, secretKey, name);
        if (note !== undefined) output.error(note);
        if (dead !== undefined) {
          output.error(`${dead} The file is an archive, and pgacme account import refuses it.`);
        }
        isDead = dead !== undefined;
        return sealAccountFile(account, passphrase);
      });
    } finally {
      await vault.close();
    }
    output.line(`Account ${name} is in ${file}.`);
    if (!isDead) {
      output.line(
        'Whoever has the file and its passphrase can issue certificates with this account.',
      );
    }
    return 0;
  },
};
