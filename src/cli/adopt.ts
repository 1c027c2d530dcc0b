import { printable } from '../acme/text.ts';
import type { Lineage } from '../certificate-files/index.ts';
import type { Sql } from '../db/steps/connect.ts';
import { PgacmeError } from '../errors.ts';
import { readDatabaseConfig } from './cli-config.ts';
import type { Command, ExitCode, Invocation } from './command.ts';

/** `pgacme adopt`. */
export const adoptCommand: Command = {
  name: 'adopt',
  summary:
    'take in the certificates that another ACME client ordered: served now, renewed when due',
  help: `Reads the folder of certbot, lego, acme.sh, or of whoever keeps certificates in PEM files, and inserts
each certificate in use with the CSR that it was ordered with (acme.adopt). Nothing is ordered: a worker
checks that certificate and CSR belong together, and the certificate is current at once. It is renewed
with that CSR when it is due, so the key stays where it is. Private keys are not read.

A CSR is found by its key and names, wherever it lies in DIR. For a certificate whose client kept none,
it says how to make one; --csrs is the folder with these. Certificates that have expired are left out
unless --expired says otherwise: they are renewed at once.

What is there already is left as it is, so it can be run again. What cannot be read is named and passed by.
The login is a member of acme_admin.

Examples:
  pgacme adopt /etc/letsencrypt --dry-run
  pgacme adopt ~/.acme.sh --account main --tenant webapp
  pgacme adopt ~/.lego --csrs ./csrs`,
  flags: {
    'dry-run': 'say what would be taken in, and change nothing',
    expired: 'also those that have expired; they are renewed at once',
  },
  options: {
    account: {
      value: 'NAME',
      text: 'the account to renew with (an imported one: that ordered them); else the default one',
    },
    tenant: { value: 'NAME', text: 'on whose behalf, as the setting acme.tenant; else the login' },
    csrs: { value: 'DIR', text: 'a folder with CSRs that the client did not keep' },
  },
  args: ['DIR'],
  role: 'acme_admin',
  async run(call) {
    const { databaseUrl } = readDatabaseConfig(call.env);
    const { connectAnyhow } = await import('../db/steps/connect-anyhow.ts');
    // (It connects with its first query: a dry run that names no account needs no database.)
    const sql = await connectAnyhow({ databaseUrl, name: 'pgacme adopt', max: 1 });
    try {
      return await adopt(sql, call);
    } finally {
      await sql.end({ timeout: 5 });
    }
  },
};

async function adopt(sql: Sql, { flags, options, args, output }: Invocation): Promise<ExitCode> {
  const [dir = ''] = args;
  const { adoptAll, hasAccount, tenantFor } = await import('../db/owner/adopt.ts');
  const account = options.get('account');
  if (account !== undefined && !(await hasAccount(sql, account))) {
    throw new PgacmeError(
      'ERR_ACCOUNT_NAME',
      `There is no account ${account}. Insert it into acme.account first, or leave --account out.`,
    );
  }
  const { readLineages } = await import('../certificate-files/index.ts');
  const { lineages: found, unread } = await readLineages(dir, options.get('csrs'));
  const now = new Date();
  const expired = found.filter(({ notAfter }) => notAfter <= now && !flags.has('expired'));
  const wanted = found.filter((each) => !expired.includes(each));
  const ready = wanted.flatMap(({ name, csrPem, chainPem }) =>
    csrPem === undefined ? [] : [{ ref: name, csrPem, chainPem }],
  );
  const bare = wanted.filter(({ csrPem }) => csrPem === undefined);
  output.line(
    `Found: ${found.length}. With their CSR: ${ready.length}. Without: ${bare.length}. Expired, left out: ${expired.length}.`,
  );
  for (const line of serversOf(wanted)) output.line(line);
  for (const each of bare) output.error(howToMakeCsr(each));
  for (const each of unread) output.error(`Not read: ${printable(each, 500)}`);
  const left = bare.length + unread.length;
  if (flags.has('dry-run')) return left === 0 ? 0 : 1;
  const tenant = options.get('tenant');
  if (tenant !== undefined && (await tenantFor(sql, tenant)) !== tenant) {
    throw new PgacmeError(
      'ERR_ROLES',
      `This login may not act for tenant ${tenant}: it is no member of acme_admin. Have an administrator run pgacme adopt, or leave --tenant out.`,
    );
  }
  const { inserted, known, refused } = await adoptAll(sql, ready, {
    account,
    tenant,
  });
  output.line(`Inserted: ${inserted}. There before: ${known}. Refused: ${refused.length}.`);
  for (const sentence of refused) output.error(printable(sentence, 1000));
  if (inserted > 0) {
    output.line('Workers check them: select state, count(*) from acme.csr_status group by state');
  }
  return left + refused.length === 0 ? 0 : 1;
}

function serversOf(lineages: readonly Lineage[]): string[] {
  const counts = new Map<string, number>();
  for (const { server } of lineages) {
    if (server !== undefined) counts.set(server, (counts.get(server) ?? 0) + 1);
  }
  return [...counts].map(([server, count]) => `Ordered at ${printable(server, 500)}: ${count}`);
}

function howToMakeCsr({ name, names, path }: Lineage): string {
  const alt = word(`subjectAltName=${names.map((each) => `DNS:${each}`).join()}`, 30_000);
  return `${printable(`${name} (${path})`, 1000)}: no CSR with its key and names. Make one with its key, and give the folder with --csrs:
  openssl req -new -key KEY -subj / -addext ${alt} -out ${word(`${name}.csr`, 500)}`;
}

/** One word for a shell: the names of files and in certificates are others', and the line is there to be copied. */
function word(text: string, max: number): string {
  const shown = printable(text, max);
  return /^[\w.,:=@+-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`;
}
