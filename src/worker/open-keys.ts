import type { Steps } from '../db/steps/steps.ts';
import { PgacmeError } from '../errors.ts';
import type { AccountKeys } from '../secrets/account-keys.ts';

/** Whether this worker can use an account key of its database; null: there is none yet. */
export async function opensKeys(
  steps: Pick<Steps, 'keysToOpen'>,
  keys: AccountKeys,
): Promise<boolean | null> {
  const sealed = await steps.keysToOpen();
  for (const { account, directory_url: url, stored } of sealed) {
    try {
      await keys.open({ account, origin: new URL(url).origin }, stored);
      return true;
    } catch (error) {
      if (!(error instanceof PgacmeError)) throw error;
    }
  }
  return sealed.length === 0 ? null : false;
}
