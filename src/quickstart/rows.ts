import type { Sql } from '../db/steps/connect.ts';
import { PgacmeError } from '../errors.ts';
import type { Pebble } from '../local/pebble.ts';
import type { Show } from './show.ts';
import { runShown } from './statement.ts';

/** Which csr was asked for, and when, by the database's clock in ms. */
export interface Asked {
  csrId: string;
  at: number;
}

/** The port of the Pebble that earlier starts used: a directory_url cannot change. */
export async function keptPebblePort(sql: Sql): Promise<number | undefined> {
  const [row] = await sql<{ directory_url: string }[]>`
    select directory_url
      from acme.server
     where name = 'pebble'`;
  const port = Number(row === undefined ? '' : new URL(row.directory_url).port);
  return port > 0 ? port : undefined;
}

/** The rows of server and account, as an acme_admin inserts them; those of an earlier start are kept. */
export async function insertServerAndAccount(sql: Sql, pebble: Pebble, show: Show): Promise<void> {
  const [kept] = await sql<{ ca_bundle: string; hasAccount: boolean }[]>`
    select s.ca_bundle, exists (select from acme.account a where a.name = 'quickstart') as "hasAccount"
      from acme.server s
     where s.name = 'pebble'`;
  if (kept === undefined) {
    await runShown(sql, show, {
      text: `insert into acme.server (name, directory_url, ca_bundle, max_orders_in_flight)
values ('pebble', $1, $2, 8)`,
      parameters: [pebble.directoryUrl, pebble.caPem],
    });
  } else if (kept.ca_bundle !== pebble.caPem) {
    // Its folder was deleted, and with it the certificate that it had.
    await sql`update acme.server set ca_bundle = ${pebble.caPem} where name = 'pebble'`;
  }
  if (kept?.hasAccount === true) return;
  // Pebble's terms are a placeholder; a real server's are to be read first.
  await runShown(sql, show, {
    text: `insert into acme.account (name, server, terms_agreed)
values ('quickstart', 'pebble', true)`,
    parameters: [],
  });
}

/**
 * Asks for the certificate: the first time with a plain INSERT, later, when this CSR is there already,
 * by asking for a new one.
 */
export async function requestCertificate(sql: Sql, pem: string, show: Show): Promise<Asked> {
  const [now] = await sql<[{ at: number; isThere: boolean }]>`
    select extract(epoch from clock_timestamp())::float8 * 1000 as at,
           exists (
             select
               from acme.csr c
               join acme.csr_status s using (id)
              where c.pem = ${pem}
                and s.state not in ('rejected', 'failed', 'cancelled')) as "isThere"`;
  const text = now.isThere
    ? `select id from acme.request($1, on_duplicate => 'renew')`
    : `insert into acme.csr (pem)
values ($1)
returning id`;
  const [row] = await runShown(sql, show, { text, parameters: [pem] });
  if (row === undefined) throw new PgacmeError('ERR_QUICKSTART', 'The INSERT returned no id.');
  return { csrId: String(row['id']), at: now.at };
}
