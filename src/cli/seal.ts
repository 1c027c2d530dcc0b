import { PgacmeError } from '../errors.ts';
import { readWorkerConfig } from './cli-config.ts';
import { type Command, UsageError } from './command.ts';
import { readSecret } from './secret-input.ts';
import { usageLine } from './usage.ts';

/** `pgacme seal`. */
export const sealCommand: Command = {
  name: 'seal',
  summary: 'seal a secret, so that SQL may carry it: the key of an external account binding',
  help: `Reads a secret from stdin or from a file and prints it sealed with PGACME_SECRET_KEY, as a JWE that only
workers can open, and only for this account at this server. So no secret stands in SQL, where logs and
statistics keep it.

--for account:NAME   the HMAC key of the account's external binding, as the CA shows it (base64url): the
                     result belongs into acme.account.eab_hmac, beside eab_kid. The account need not be
                     there yet.

The server is looked up in the database that DATABASE_URL (or the PG* variables) names; the login is a
member of acme_reader or acme_admin.

Examples:
  pgacme seal --for account:main --server zerossl --file hmac.txt
  pass show zerossl/hmac | pgacme seal --for account:main --server zerossl`,
  flags: {},
  options: {
    for: { value: 'account:NAME', text: 'what it belongs to', isRequired: true },
    server: { value: 'NAME', text: "the account's server", isRequired: true },
    file: { value: 'FILE', text: 'where the secret is; without it, stdin' },
  },
  role: 'acme_reader',
  async run({ options, env, output }) {
    const account = /^account:([a-z0-9][a-z0-9._-]{0,252})$/.exec(options.get('for') ?? '')?.[1];
    if (account === undefined) {
      throw new UsageError('--for is account: and the name of an account.', usageLine(sealCommand));
    }
    const { databaseUrl, secretKey } = readWorkerConfig(env);
    const secret = await readSecret(options.get('file'), 'The HMAC key');
    const { connectAnyhow } = await import('../db/steps/connect-anyhow.ts');
    const { sealEabKey } = await import('../secrets/eab.ts');
    const sql = await connectAnyhow({ databaseUrl, name: 'pgacme seal', max: 1 });
    try {
      const server = options.get('server') ?? '';
      const [row] = await sql<{ directory_url: string }[]>`
        select directory_url from acme.server where name = ${server}`;
      if (row === undefined) {
        throw new PgacmeError('ERR_CONFIG', `There is no server ${server} in acme.server.`);
      }
      const owner = { account, origin: new URL(row.directory_url).origin };
      output.line(await sealEabKey(secretKey, owner, secret));
      return 0;
    } finally {
      await sql.end({ timeout: 5 });
    }
  },
};
