import { readFile } from 'node:fs/promises';
import type { Sql } from '../../db/steps/connect.ts';
import { PgacmeError } from '../../errors.ts';
import { type Leaf, readLeaf, X509Error } from '../../x509/index.ts';

/** The certificate that is meant, and its row, where this database has it. */
export interface Subject {
  leaf: Leaf;
  row: { id: string; csr: string; server: string | null } | undefined;
}

/** How to reach the server that is asked. */
export interface ServerRow {
  name: string;
  directory_url: string;
  ca_bundle: string | null;
  allowed_hosts: string[];
  /** It takes whoever signs with the certificate's key for a finder of it. */
  blocks_revoked_keys: boolean;
}

interface Row {
  id: string;
  csr: string;
  server: string | null;
  pem: string;
}

/** By its id in acme.certificate. */
export async function certificateById(sql: Sql, id: string): Promise<Subject> {
  const known = /^[1-9][0-9]{0,17}$/.test(id) ? await find(sql, sql`c.id = ${id}`) : undefined;
  if (known === undefined) {
    throw new PgacmeError('ERR_CONFIG', `There is no certificate ${id}; see acme.certificate.`);
  }
  return { leaf: readLeaf(known.pem), row: known };
}

/** The first certificate in a PEM file; this database need not have it. */
export async function certificateFromFile(sql: Sql, file: string): Promise<Subject> {
  const leaf = await leafOf(file);
  const row = await find(sql, sql`c.fingerprint_sha256 = ${leaf.fingerprintSha256}`);
  return { leaf, row };
}

/** Reads a PEM file that begins with the certificate. */
export async function leafOf(file: string): Promise<Leaf> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new PgacmeError('ERR_CONFIG', `The certificate ${file} cannot be read (${code}).`);
  }
  try {
    return readLeaf(text);
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new PgacmeError(
      'ERR_CONFIG',
      `${file} holds no certificate in PEM form: ${error.message}.`,
    );
  }
}

/** The server that was named; else that of the certificate's csr; else that of the default account. */
export async function serverFor(
  sql: Sql,
  named: string | undefined,
  row: Subject['row'],
): Promise<ServerRow> {
  const wanted = named ?? row?.server ?? null;
  const [server] = await sql<ServerRow[]>`
    select s.name, s.directory_url, s.ca_bundle, s.allowed_hosts, s.blocks_revoked_keys
      from acme.server s
     where s.name = coalesce(${wanted}, (select a.server from acme.account a where a.is_default))`;
  if (server !== undefined) return server;
  throw new PgacmeError(
    'ERR_CONFIG',
    wanted === null
      ? 'This database does not have the certificate, and there is no default account; say with --server who issued it.'
      : `There is no server ${wanted} in acme.server.`,
  );
}

async function find(sql: Sql, condition: ReturnType<Sql>): Promise<Row | undefined> {
  const [row] = await sql<Row[]>`
    select c.id::text, c.csr_id::text as csr, s.server, c.leaf_pem as pem
      from acme.certificate c
      left join acme.csr_status s on s.id = c.csr_id
     where ${condition}
     order by c.id
     limit 1`;
  return row;
}
