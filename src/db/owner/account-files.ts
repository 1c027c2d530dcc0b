import { PgacmeError } from '../../errors.ts';
import { connectAnyhow } from '../steps/connect-anyhow.ts';
import { primaryOf } from '../steps/hosts.ts';

/** A server's row, as far as its accounts are spoken for. */
export interface ServerRow {
  name: string;
  directory_url: string;
  ca_bundle: string | null;
  allowed_hosts: string[];
}

/** An account as it leaves the database. */
export interface ExportedRow {
  name: string;
  state: string;
  url: string | null;
  contact: string[];
  terms_agreed: boolean;
  eab_kid: string | null;
  thumbprint: string | null;
  jwe: string | null;
  is_rolling_over: boolean;
  reason_code: string | null;
  server: ServerRow;
  records: string[];
}

/** What is there before an account is imported. */
export interface ImportFacts {
  server_by_name: ServerRow | null;
  server_by_url: ServerRow | null;
  is_name_taken: boolean;
  key_of: { account: string; state: 'current' | 'pending' | 'retired' } | null;
}

/** An account that its server has for this key. */
export interface ImportedRow {
  name: string;
  server: ServerRow;
  url: string;
  contact: readonly string[];
  terms_agreed: boolean;
  terms_url: string | null;
  eab_kid: string | null;
  key_algorithm: string;
  jwe: string;
  thumbprint: string;
  /** In hex. */
  spki_sha256: string;
  /** Whose file it came from. */
  client: string;
}

/** Keys in the database, for a login that is a member of acme_owner; each call is one transaction. */
export interface AccountVault {
  exported(name: string): Promise<ExportedRow>;
  facts(asked: {
    name: string;
    server: string | undefined;
    directoryUrl: string | undefined;
    thumbprint: string;
  }): Promise<ImportFacts>;
  imported(row: ImportedRow): Promise<void>;
  close(): Promise<void>;
}

/** Opens the database as acme_owner. */
export async function accountVault(
  databaseUrl: string | undefined,
  name: string,
): Promise<AccountVault> {
  const sql = await connectAnyhow({ databaseUrl: await primaryOf(databaseUrl), name, max: 1 });
  const asOwner = <T>(
    query: (tx: typeof sql) => PromiseLike<readonly { value: T }[]>,
  ): Promise<T> =>
    sql
      .begin(async (tx) => {
        await tx`set local role acme_owner`;
        return [...(await query(tx as unknown as typeof sql))];
      })
      .then(([row]) => (row as { value: T }).value);
  return {
    exported: (account) =>
      asOwner<ExportedRow>(
        (tx) => tx`
          select acme_private.export_account(${account}) || (
                   select jsonb_build_object('reason_code', s.reason_code)
                     from acme.account_status s
                    where s.name = ${account}) as value`,
      ),
    facts: (asked) =>
      asOwner<ImportFacts>(
        (tx) => tx`
          select acme_private.import_facts(
            ${asked.name}, ${asked.server ?? null}, ${asked.directoryUrl ?? null}, ${asked.thumbprint}) as value`,
      ),
    async imported(row) {
      try {
        await asOwner<string>(
          (tx) =>
            tx`select acme_private.import_account(${tx.json(row as unknown as Parameters<typeof sql.json>[0])}) as value`,
        );
      } catch (error) {
        // Somebody was quicker than this command, which looked before it asked the server.
        if (codeOf(error) !== '23505') throw error;
        throw new PgacmeError(
          'ERR_ACCOUNT_FILE',
          `An account ${row.name}, or this key, has come into the database at this very moment. Nothing was imported; look at acme.account_status.`,
          { cause: error },
        );
      }
    },
    close: () => sql.end({ timeout: 5 }),
  };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
