import { printable } from '../acme/text.ts';
import type { Sql } from '../db/steps/connect.ts';
import type { LocalPostgres } from '../local/postgres.ts';
import { which } from '../local/run.ts';
import { writePasswordFile } from './folder.ts';
import type { Show } from './show.ts';

/** Prints the certificate and how long it took. */
export async function showCertificate(
  sql: Sql,
  id: string,
  tookMs: number,
  show: Show,
): Promise<void> {
  const [row] = await sql<
    { subject: string; names: string[]; issuer: string; notBefore: string; notAfter: string }[]
  >`
    select subject, identifiers as names, issuer,
           to_char(not_before at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') as "notBefore",
           to_char(not_after at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') as "notAfter"
      from acme.certificate
     where acme.certificate.id = ${id}`;
  if (row === undefined) return;
  show.line();
  show.line(`Certificate ${id}`);
  show.line(`  subject     ${printable(row.subject, 300) || '(empty: the names are what counts)'}`);
  show.line(`  names       ${printable(row.names.join(', '), 300)}`);
  show.line(`  issuer      ${printable(row.issuer, 300)}`);
  show.line(`  not before  ${row.notBefore}`);
  show.line(`  not after   ${row.notAfter}`);
  show.line(`  it took     ${Math.round(tookMs)} ms, from the statement to the stored certificate`);
}

/** Prints how to look around with psql; the password is in a file, not on the line. */
export async function showPsql(
  folder: string,
  postgres: LocalPostgres,
  csrId: string,
  show: Show,
): Promise<void> {
  const url = new URL(postgres.url);
  const passfile = await writePasswordFile(folder, url);
  url.password = '';
  show.line();
  show.line('Look around:');
  show.line(`  psql '${url.href}?passfile=${encodeURIComponent(passfile).replaceAll('%2F', '/')}'`);
  show.line('and there, for example:');
  show.line('  select id, identifiers, state, not_after, renew_at from acme.csr_status;');
  show.line(`  select acme.explain(${csrId});`);
  show.line(`  select chain_pem from acme.current_certificate where csr_id = ${csrId};`);
  show.line(`  select acme.renew(${csrId});`);
  if ((await which('psql')) === undefined) {
    show.line('psql is not in PATH here; install it (Debian: apt-get install postgresql-client).');
  }
}
