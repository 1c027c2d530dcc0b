import { PgacmeError } from '../../errors.ts';
import { open, seal, sealedFor, sealingKeys } from '../../secrets/seal.ts';
import { connectAnyhow } from '../steps/connect-anyhow.ts';
import { primaryOf } from '../steps/hosts.ts';

/** What a change of the sealing key did. */
export interface Resealed {
  /** How many secrets were sealed anew. */
  sealed: number;
  /** How many had been sealed with the first key before. */
  before: number;
  /** A sentence for each that none of the keys opens. */
  unopened: string[];
}

/**
 * Seals the secrets in the database anew, with the first of the given keys. Workers go on meanwhile: each
 * row is changed by itself, and only if it still is what was read.
 *
 * @throws PgacmeError ERR_SECRET_KEY
 */
export async function reseal(options: {
  /** A PostgreSQL URL; undefined: the PG* variables. The login is a member of acme_owner. */
  databaseUrl: string | undefined;
  secretKey: string;
}): Promise<Resealed> {
  const keys = await sealingKeys(options.secretKey);
  const sql = await connectAnyhow({
    databaseUrl: await primaryOf(options.databaseUrl),
    name: 'pgacme account reseal',
    max: 1,
  });
  const done: Resealed = { sealed: 0, before: 0, unopened: [] };
  try {
    await sql`set role acme_owner`;
    const rows = await sql<
      {
        source: 'account_key' | 'account_eab';
        id: string;
        account: string;
        jwe: string;
        origin: string;
      }[]
    >`
      select x.source, x.id, a.name as account, x.jwe, substring(s.directory_url from '^https://[^/?#]+') as origin
        from (select 'account_key' as source, k.id, k.account_id, k.jwe from acme_private.account_key k
              union all
              select 'account_eab', e.account_id, e.account_id, e.jwe from acme_private.account_eab e) x
        join acme.account a on a.id = x.account_id
        join acme.server s on s.name = a.server
       where x.jwe is not null
       order by a.name, x.source, x.id`;
    for (const { source, id, account, jwe, origin } of rows) {
      const { kid } = sealedFor(jwe);
      // What lives elsewhere (a KMS) is no JWE.
      if (kid === undefined) continue;
      if (kid === keys[0].id) {
        done.before += 1;
        continue;
      }
      const binding = {
        purpose: source === 'account_key' ? 'account-key' : 'eab-hmac',
        row: account,
        origin: new URL(origin).origin,
      } as const;
      try {
        const anew = await seal(keys, binding, await open(keys, binding, jwe));
        const changed =
          source === 'account_key'
            ? await sql`update acme_private.account_key set jwe = ${anew} where id = ${id} and jwe = ${jwe} returning id`
            : await sql`update acme_private.account_eab set jwe = ${anew} where account_id = ${id} and jwe = ${jwe} returning account_id`;
        done.sealed += changed.length;
      } catch (error) {
        if (!(error instanceof PgacmeError) || error.code !== 'ERR_SEALED') throw error;
        done.unopened.push(error.message);
      }
    }
    return done;
  } finally {
    await sql.end({ timeout: 5 });
  }
}
