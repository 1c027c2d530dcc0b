import type { AccountRecord } from '../../db/steps/step-types.ts';
import { open, sealedFor, sealingKeys } from '../../secrets/seal.ts';
import { isClosed } from './accounts.ts';
import { type Check, type Finding, ok, problem } from './finding.ts';

/** The sealing key, and whether it opens the key of each account. */
export const secretCheck: Check = {
  name: 'Secret key',
  async run({ sql, facts, config, env }) {
    if (config.secretKey === undefined) {
      // A value that cannot be read was told with the environment.
      if (env['PGACME_SECRET_KEY'] || env['PGACME_SECRET_KEY_FILE']) return [];
      return [
        problem(
          'PGACME_SECRET_KEY is not set here, so that no worker starts with this environment. Set it, or PGACME_SECRET_KEY_FILE; a new one is made with: openssl rand -base64 32',
        ),
      ];
    }
    const keys = await sealingKeys(config.secretKey);
    const ids = keys.map(({ id }) => id).join(', ');
    if (sql === undefined || facts === undefined) return [ok(`It has 32 bytes (id ${ids}).`)];
    const found: Finding[] = [];
    let opened = 0;
    for (const { id } of facts.accounts.filter((account) => !isClosed(account))) {
      const [row] = await sql<{ record: AccountRecord | null }[]>`
        select acme_private.account_for_worker(${id}) as record`;
      const record = row?.record;
      if (record === undefined || record === null || record.jwe === null) continue;
      const { origin } = new URL(record.server.directory_url);
      try {
        await open(keys, { purpose: 'account-key', row: record.name, origin }, record.jwe);
        opened += 1;
      } catch {
        found.push(
          problem(
            `It does not open the key of account ${record.name}: that was sealed with another one${kidOf(record.jwe, ids)}, or for another server or name. Give the PGACME_SECRET_KEY that was used before; it cannot be made anew.`,
          ),
        );
      }
    }
    if (found.length > 0) return found;
    return [
      ok(
        `It has 32 bytes (id ${ids}) and opens ${opened === 1 ? 'the key of the account' : `the keys of all ${opened} accounts`}.`,
      ),
    ];
  },
};

/** Which key sealed a value, as its header tells; no secret. */
function kidOf(jwe: string, mine: string): string {
  const { kid } = sealedFor(jwe);
  return kid !== undefined && !mine.includes(kid) ? ` (id ${kid}, this one has ${mine})` : '';
}
