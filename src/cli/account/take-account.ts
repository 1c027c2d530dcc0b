import type { JWK } from 'jose';
import type { AccountFile } from '../../account-file/index.ts';
import { AcmeError, Server } from '../../acme/index.ts';
import type { AccountVault, ExportedRow } from '../../db/owner/account-files.ts';
import { PgacmeError } from '../../errors.ts';
import { keyBinding } from '../../secrets/account-keys.ts';
import { open, sealedFor, sealingKeys } from '../../secrets/seal.ts';

/**
 * Takes an account out of the database, its key opened. `note`: a sentence on what had to be left out;
 * `dead`: one on why nobody can use the key any more.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE for an account that is not registered, is rolling over its key, or
 * whose key is not in the database; ERR_SEALED where it is sealed with another key.
 */
export async function takeAccount(
  vault: AccountVault,
  secretKey: string,
  name: string,
): Promise<{ account: AccountFile; note: string | undefined; dead: string | undefined }> {
  const keys = await sealingKeys(secretKey);
  const row = await vault.exported(name);
  const { url, jwe, thumbprint, server } = row;
  if (url === null || jwe === null || thumbprint === null) {
    throw fault(
      `The account ${name} is ${row.state}: there is nothing to export before it is registered.`,
    );
  }
  if (row.is_rolling_over) {
    throw fault(
      `The account ${name} is rolling over its key, and the file would hold one that is dead soon. Export it when acme.account_status says valid.`,
    );
  }
  if (sealedFor(jwe).kid === undefined) {
    throw fault(
      `The key of account ${name} is not in the database (a KMS or HSM holds it) and cannot be exported.`,
    );
  }
  const owner = { account: name, origin: new URL(server.directory_url).origin };
  const privateJwk = (await open(keys, keyBinding(owner), jwe)) as JWK;
  const caa = await caaRecords(row, url);
  return {
    account: {
      server: {
        name: server.name,
        directoryUrl: server.directory_url,
        ...(server.ca_bundle === null ? {} : { caBundle: server.ca_bundle }),
        allowedHosts: server.allowed_hosts,
      },
      name,
      url,
      thumbprint,
      privateJwk,
      contact: row.contact,
      termsAgreed: row.terms_agreed,
      ...(row.eab_kid === null ? {} : { eabKid: row.eab_kid }),
      records: [...(caa ?? []), ...row.records],
      exportedAt: new Date().toISOString(),
    },
    note:
      caa === undefined
        ? `The server ${server.name} does not answer, so the file has no texts of CAA records; all else is in it.`
        : undefined,
    dead: whyDead(row),
  };
}

function whyDead({ name, state, reason_code: reason }: ExportedRow): string | undefined {
  if (state === 'deactivated' || state === 'revoked') {
    return `The account ${name} is ${state}, for good: the server takes nothing that its key signs.`;
  }
  return reason === 'account_key_unknown'
    ? `The server has no account for the key of ${name} (${reason}): it was replaced elsewhere, or the server has lost it.`
    : undefined;
}

/**
 * CAA records that allow this account alone (RFC 8657 §3), as they may stand at any of its names: whoever
 * takes the account over needs them to stay. undefined: the server does not answer.
 */
async function caaRecords({ server }: ExportedRow, url: string): Promise<string[] | undefined> {
  const acme = new Server({
    directoryUrl: server.directory_url,
    allowedHosts: server.allowed_hosts,
    ...(server.ca_bundle === null ? {} : { caBundle: server.ca_bundle }),
  });
  try {
    const { meta } = await acme.directory({ deadline: performance.now() + 10_000 });
    return (meta.caaIdentities ?? []).map((ca) => `CAA 0 issue "${ca}; accounturi=${url}"`);
  } catch (error) {
    if (error instanceof AcmeError) return undefined;
    throw error;
  } finally {
    await acme.close();
  }
}

function fault(message: string): PgacmeError {
  return new PgacmeError('ERR_ACCOUNT_FILE', message);
}
