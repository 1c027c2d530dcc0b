import { readDatabaseConfig } from './cli-config.ts';
import { type Command, UsageError } from './command.ts';
import { usageLine } from './usage.ts';

/** `pgacme revoke`. */
export const revokeCommand: Command = {
  name: 'revoke',
  summary: 'revoke a certificate with its own private key, where no account of ours may',
  help: `Asks the CA to revoke a certificate, signed with the certificate's own private key (RFC 8555 §7.6). It
needs no account. The key is read by this process alone: it goes to neither the database nor a log.
Certificates whose key you do not have are revoked with acme.revoke() and acme.revoke_certificate().

The database that DATABASE_URL (or the PG* variables) names has the server's address; when it has the
certificate too, that is marked as revoked, and what follows is the same as after
acme.revoke_certificate(). The login is a member of acme_admin.

Some CAs take whoever signs with the key for a finder of it: they revoke with the reason keyCompromise, and
refuse the key from then on. Where acme.server.blocks_revoked_keys says so, the key is blocked here, too.

Examples:
  pgacme revoke --key-file www.key --id 7 --reason superseded
  pgacme revoke --key-file stolen.key --certificate www.pem --server letsencrypt --reason keyCompromise`,
  flags: {},
  options: {
    'key-file': {
      value: 'KEY',
      text: "the certificate's private key: PEM, RSA or EC (P-256, P-384)",
      isRequired: true,
    },
    certificate: { value: 'FILE', text: 'the certificate: PEM, alone or first in its chain' },
    id: { value: 'N', text: 'the certificate, by its id in acme.certificate' },
    server: { value: 'NAME', text: 'who issued it, by the name in acme.server' },
    reason: {
      value: 'WHY',
      text: 'why, as in acme.revoke (docs/sql.md); default unspecified',
    },
  },
  role: 'acme_admin',
  async run({ options, env, output }) {
    const file = options.get('certificate');
    const id = options.get('id');
    if ((file === undefined) === (id === undefined)) {
      throw misuse('needs either --certificate FILE or --id N');
    }
    const { readRevocationReason, reasonCode, revocationReasons } =
      await import('../x509/index.ts');
    const reason = readRevocationReason(options.get('reason') ?? 'unspecified');
    if (reason === undefined) {
      throw misuse(
        `does not know the reason ${JSON.stringify(options.get('reason'))}; it is one of ${Object.keys(revocationReasons).join(', ')}`,
      );
    }
    const { readCertificateKey } = await import('./revoke/key-file.ts');
    const { certificateById, certificateFromFile, leafOf, serverFor } =
      await import('./revoke/subject.ts');
    const keyFile = options.get('key-file') ?? '';
    // Whatever can be found out without the database is, first.
    if (file !== undefined) await readCertificateKey(keyFile, await leafOf(file));
    const { databaseUrl } = readDatabaseConfig(env);
    const { connectAnyhow } = await import('../db/steps/connect-anyhow.ts');
    const sql = await connectAnyhow({ databaseUrl, name: 'pgacme revoke', max: 1 });
    try {
      const { leaf, row } =
        file === undefined
          ? await certificateById(sql, id ?? '')
          : await certificateFromFile(sql, file);
      const key = await readCertificateKey(keyFile, leaf);
      const server = await serverFor(sql, options.get('server'), row);
      const { askToRevoke } = await import('./revoke/ask.ts');
      const wasRevoked = await askToRevoke(server, key, leaf.der, reasonCode(reason));
      output.line(
        `${server.name}: the certificate with serial ${leaf.serial} ${wasRevoked ? 'was revoked already' : 'is revoked'}.`,
      );
      if (row === undefined) {
        output.line('This database does not have it; nothing else was done.');
        return 0;
      }
      // The key is of no use there any more, and a csr with it would be refused at its renewal.
      const because = server.blocks_revoked_keys ? 'keyCompromise' : reason;
      await sql`select acme.certificate_was_revoked(${row.id}, ${because})`;
      const [after] = await sql<{ state: string; reason: string | null }[]>`
        select state, reason from acme.csr_status where id = ${row.csr}`;
      const why = after?.reason ?? '';
      output.line(
        `Certificate ${row.id} is marked as revoked. Its csr ${row.csr} is ${after?.state ?? 'gone'}${why === '' ? '.' : `: ${why}`}`,
      );
      return 0;
    } finally {
      await sql.end({ timeout: 5 });
    }
  },
};

function misuse(what: string): UsageError {
  return new UsageError(`pgacme revoke ${what}.`, usageLine(revokeCommand));
}
