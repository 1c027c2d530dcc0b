import { readWorkerConfig } from '../cli-config.ts';
import type { Command } from '../command.ts';

/** `pgacme account reseal`. */
export const accountResealCommand: Command = {
  name: 'account reseal',
  summary: 'seal all account keys anew, with the first key of PGACME_SECRET_KEY',
  help: `PGACME_SECRET_KEY (or the file of PGACME_SECRET_KEY_FILE) may hold several keys, separated by white space:
the first one seals, all of them open. To change the key while workers run:

  1. give every worker both keys, the old one first, and start it anew;
  2. put the new one first, for the workers and for this command;
  3. run this command;
  4. take the old key away from the workers.

It says which accounts it cannot open, and seals the others. The login is a member of acme_owner.

Examples:
  PGACME_SECRET_KEY_FILE=both-keys.txt DATABASE_URL=postgres://postgres@localhost/shop pgacme account reseal`,
  flags: {},
  role: 'acme_owner',
  async run({ env, output }) {
    const { databaseUrl, secretKey } = readWorkerConfig(env);
    const { reseal } = await import('../../db/owner/reseal.ts');
    const { sealed, before, unopened } = await reseal({ databaseUrl, secretKey });
    output.line(`Sealed anew: ${sealed}. Sealed with the first key before: ${before}.`);
    for (const sentence of unopened) output.error(sentence);
    return unopened.length === 0 ? 0 : 1;
  },
};
