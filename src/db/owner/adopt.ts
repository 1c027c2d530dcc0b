import type { Sql } from '../steps/connect.ts';

/** A certificate to adopt, with the CSR that it was ordered with. */
export interface Adoption {
  ref: string;
  csrPem: string;
  chainPem: string;
}

/** What became of many. */
export interface Adopted {
  inserted: number;
  /** Their CSR was there before; it was left as it is. */
  known: number;
  /** A sentence each. */
  refused: string[];
}

/** Rows in one INSERT. One that cannot be inserted has all of them done one by one. */
const BATCH = 500;

/** Whether there is an account of this name. */
export async function hasAccount(sql: Sql, name: string): Promise<boolean> {
  const rows = await sql`
    select
      from acme.account
     where name = ${name}`;
  return rows.length > 0;
}

/** The tenant that this session acts for while the setting acme.tenant names this one. */
export async function tenantFor(sql: Sql, tenant: string): Promise<string | undefined> {
  return sql.begin(async (tx) => {
    await tx`select set_config('acme.tenant', ${tenant}, true)`;
    const [row] = await tx<{ tenant: string }[]>`select acme.current_tenant() as tenant`;
    return row?.tenant;
  });
}

/** Inserts csrs with their certificates, one statement a batch, on behalf of a tenant if one is named. */
export async function adoptAll(
  sql: Sql,
  adoptions: readonly Adoption[],
  { account, tenant }: { account: string | undefined; tenant: string | undefined },
): Promise<Adopted> {
  const done: Adopted = { inserted: 0, known: 0, refused: [] };
  for (let at = 0; at < adoptions.length; at += BATCH) {
    const batch = adoptions.slice(at, at + BATCH);
    try {
      await sql.begin(async (tx) => {
        await tx`select set_config('acme.tenant', ${tenant ?? ''}, true)`;
        await tx`
          insert into acme.csr (pem, chain_pem, ref, account)
          select n.pem, n.chain_pem, n.ref, ${account ?? null}
            from unnest(${batch.map((one) => one.csrPem)}::text[], ${batch.map((one) => one.chainPem)}::text[],
                        ${batch.map((one) => one.ref)}::text[]) n (pem, chain_pem, ref)`;
      });
      done.inserted += batch.length;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      for (const one of batch) await adoptOne(sql, one, { account, tenant }, done);
    }
  }
  return done;
}

async function adoptOne(
  sql: Sql,
  { ref, csrPem, chainPem }: Adoption,
  { account, tenant }: { account: string | undefined; tenant: string | undefined },
  done: Adopted,
): Promise<void> {
  try {
    const isNew = await sql.begin(async (tx) => {
      await tx`select set_config('acme.tenant', ${tenant ?? ''}, true)`;
      const [row] = await tx<{ is_new: boolean }[]>`
        select inserted_xid = pg_current_xact_id() as is_new
          from acme.adopt(${csrPem}, ${chainPem}, ${ref}, ${account ?? null})`;
      return row?.is_new === true;
    });
    if (isNew) done.inserted += 1;
    else done.known += 1;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    done.refused.push(`${ref}: ${error.message}`);
  }
}

/** What is wrong with a row, rather than with the database: a duplicate, or a value that is refused. */
function isRefusal(error: unknown): error is Error & { code: string } {
  return (
    error instanceof Error &&
    'code' in error &&
    ['23505', '22023', '23514'].includes(String(error.code))
  );
}
