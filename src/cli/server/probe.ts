import type { Account, Server } from '../../acme/index.ts';
import type { Sql } from '../../db/steps/connect.ts';
import type { AccountRecord, ServerRecord } from '../../db/steps/steps.ts';
import { PgacmeError } from '../../errors.ts';
import { readCliConfig } from '../cli-config.ts';
import type { Command } from '../command.ts';
import { table } from '../table.ts';

/** `pgacme server probe`. */
export const serverProbeCommand: Command = {
  name: 'server probe',
  summary: 'ask an ACME server what it supports, by requests that cost no limit',
  help: `Reads the server's directory, the account there as the server has it, its list of orders, and renewal
information of a certificate that does not exist. Nothing is ordered and nothing changes. What was found is
stored: acme.server_feature shows it, with how it is known. The login is a member of acme_worker.

PGACME_SECRET_KEY (or PGACME_SECRET_KEY_FILE) opens the account's key; without it, or without a valid
account, the account is left out.

Examples:
  pgacme server probe letsencrypt
  psql -c "select feature, support, how from acme.server_feature where server = 'letsencrypt'"`,
  flags: {},
  args: ['NAME'],
  role: 'acme_worker',
  async run({ args, env, output }) {
    const [name = ''] = args;
    const { databaseUrl, secretKey, target } = readCliConfig(env);
    const [{ connectAnyhow }, { Server }, { Steps }, { factsOfDirectory }, { ask }] =
      await Promise.all([
        import('../../db/steps/connect-anyhow.ts'),
        import('../../acme/index.ts'),
        import('../../db/steps/steps.ts'),
        import('../../tasks/server/features.ts'),
        import('./ask.ts'),
      ]);
    const sql = await connectAnyhow({ databaseUrl, name: 'pgacme server probe', max: 1 });
    let server: Server | undefined;
    try {
      const found = await toProbe(sql, name, target.database);
      const { id, directory_url: directoryUrl, allowed_hosts: allowedHosts } = found.server;
      const caBundle = found.server.ca_bundle;
      server = new Server({
        directoryUrl,
        allowedHosts,
        connections: 1,
        ...(caBundle === null ? {} : { caBundle }),
      });
      const directory = await server.directory({ timeoutMs: 15_000 });
      // No worker has this id.
      const steps = new Steps(sql, 0);
      await steps.serverFactsStored(id, 'directory', factsOfDirectory(directory));
      const account = await accountOf(sql, server, found.account, secretKey);
      const asked = await ask(server, directory, account);
      const tried = asked.flatMap(({ facts }) => facts);
      if (tried.length > 0) await steps.serverFactsStored(id, 'tried', tried);
      output.line(`Server ${name} (${directoryUrl})`);
      const rows = asked.map(({ what, answer }) => [what, answer]);
      for (const line of table([['directory', 'read'], ...rows])) output.line(line);
      output.line(
        `Stored: select feature, support, how, source from acme.server_feature where server = '${name}'`,
      );
      return 0;
    } finally {
      await server?.close();
      await sql.end({ timeout: 5 });
    }
  },
};

interface ToProbe {
  server: ServerRecord;
  /** Why nothing may be sent from this database. */
  hold: string | null;
  /** The default account there, or else the oldest that is valid, or else one that was registered. */
  account: { id: number; name: string; contact: string[]; state: string } | null;
}

async function toProbe(sql: Sql, name: string, database: string): Promise<ToProbe> {
  const [row] = await sql<{ found: ToProbe | null }[]>`
    select acme_private.server_to_probe(${name}) as found`;
  const found = row?.found;
  if (found === undefined || found === null) {
    throw new PgacmeError(
      'ERR_SERVER',
      `There is no server ${JSON.stringify(name)} in database ${database}; select name from acme.server lists them.`,
    );
  }
  if (found.hold !== null) throw new PgacmeError('ERR_HELD', found.hold);
  return found;
}

/** The account, ready to sign, or a sentence that says why it is left out. */
async function accountOf(
  sql: Sql,
  server: Server,
  row: ToProbe['account'],
  secretKey: string | undefined,
): Promise<{ signer: Account; contact: readonly string[] } | string> {
  if (row === null) return 'left out: none is registered there';
  if (row.state !== 'valid') {
    return row.state === 'rolling_over'
      ? `left out: ${row.name} is rolling over its key; probe again when acme.account_status says valid`
      : `left out: ${row.name} is ${row.state}`;
  }
  if (secretKey === undefined) return 'left out: PGACME_SECRET_KEY is not set, which opens its key';
  const [{ sealedAccountKeys }, { sealingKeys }] = await Promise.all([
    import('../../secrets/account-keys.ts'),
    import('../../secrets/seal.ts'),
  ]);
  const [loaded] = await sql<{ record: AccountRecord }[]>`
    select acme_private.account_for_worker(${row.id}) as record`;
  const { url, jwe } = loaded?.record ?? { url: null, jwe: null };
  if (url === null || jwe === null) return 'left out: it has no key yet';
  const keys = sealedAccountKeys(await sealingKeys(secretKey));
  const owner = { account: row.name, origin: new URL(server.directoryUrl).origin };
  try {
    return { signer: { server, url, key: await keys.open(owner, jwe) }, contact: row.contact };
  } catch (error) {
    if (error instanceof PgacmeError && error.code === 'ERR_SEALED') {
      return `left out: ${error.message}`;
    }
    throw error;
  }
}
