import { PgacmeError } from '../../errors.ts';
import { readDatabaseConfig, readWorkerConfig } from '../cli-config.ts';
import { type Command, UsageError } from '../command.ts';
import { readSecret } from '../secret-input.ts';
import { usageLine } from '../usage.ts';
import { accountName, nameTaken } from './account-name.ts';

/** `pgacme account create`. */
export const accountCreateCommand: Command = {
  name: 'account create',
  summary: 'insert an account, also one that is bound to an account at the CA (EAB)',
  help: `Inserts a row into acme.account; a worker makes its key and registers it. The same as the INSERT in
psql, but that it can take the HMAC key of an external account binding, which it seals with
PGACME_SECRET_KEY. The login is a member of acme_admin.

Examples:
  pgacme account create main --server letsencrypt --contact mailto:ops@example.org --agree-terms
  pgacme account create zero --server zerossl --agree-terms --eab-kid K1 --eab-hmac-file hmac.txt`,
  flags: {
    'agree-terms': "you agree to the server's terms of service",
    default: 'it serves the csrs that name no account',
  },
  options: {
    server: { value: 'SERVER', text: 'the server, by its name in acme.server', isRequired: true },
    contact: { value: 'URLS', text: 'contact URLs, separated by commas: mailto:ops@example.org' },
    'eab-kid': { value: 'KID', text: "the CA's identifier of the key that binds the account" },
    'eab-hmac-file': { value: 'FILE', text: 'the file with that key, as the CA shows it' },
  },
  args: ['NAME'],
  role: 'acme_admin',
  async run({ flags, options, args, env, output }) {
    const name = accountName(args[0] ?? '');
    const kid = options.get('eab-kid');
    const hmacFile = options.get('eab-hmac-file');
    if ((kid === undefined) !== (hmacFile === undefined)) {
      throw new UsageError(
        '--eab-kid and --eab-hmac-file belong together: the CA gives both.',
        usageLine(accountCreateCommand),
      );
    }
    const length = [...(kid ?? '')].length;
    if (length > 500) {
      throw new UsageError(
        `--eab-kid has ${length} characters, and takes at most 500: it is the identifier of the key, not the key.`,
        usageLine(accountCreateCommand),
      );
    }
    const { databaseUrl } = readDatabaseConfig(env);
    const server = options.get('server') ?? '';
    const { connectAnyhow } = await import('../../db/steps/connect-anyhow.ts');
    const sql = await connectAnyhow({ databaseUrl, name: 'pgacme account create', max: 1 });
    try {
      const [row] = await sql<{ directory_url: string }[]>`
        select directory_url from acme.server where name = ${server}`;
      if (row === undefined) {
        throw new PgacmeError('ERR_CONFIG', `There is no server ${server} in acme.server.`);
      }
      const { origin } = new URL(row.directory_url);
      const sealed =
        hmacFile === undefined
          ? null
          : await sealHmac(
              env,
              { account: name, origin },
              await readSecret(hmacFile, 'The HMAC key'),
            );
      const contact = (options.get('contact') ?? '').split(',').filter((url) => url !== '');
      await sql`
        insert into acme.account (name, server, contact, terms_agreed, is_default, eab_kid, eab_hmac)
        values (${name}, ${server}, ${contact}, ${flags.has('agree-terms')}, ${flags.has('default') || null},
                ${kid ?? null}, ${sealed})`.catch((error: unknown) => {
        throw isNameTaken(error) ? nameTaken(name) : error;
      });
      output.line(
        `Account ${name} is there, and a worker registers it: select state, reason, url from acme.account_status where name = '${name}'`,
      );
      return 0;
    } finally {
      await sql.end({ timeout: 5 });
    }
  },
};

function isNameTaken(error: unknown): boolean {
  return (
    error instanceof Error &&
    'constraint_name' in error &&
    error.constraint_name === 'account_name_key'
  );
}

async function sealHmac(
  env: NodeJS.ProcessEnv,
  owner: { account: string; origin: string },
  hmac: string,
): Promise<string> {
  const { sealEabKey } = await import('../../secrets/eab.ts');
  return sealEabKey(readWorkerConfig(env).secretKey, owner, hmac);
}
