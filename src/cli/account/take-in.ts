import { AcmeTrouble, importAccountKey, Server } from '../../acme/index.ts';
import { privateMembers } from '../../acme/key.ts';
import type { AccountVault, ImportedRow } from '../../db/owner/account-files.ts';
import { PgacmeError } from '../../errors.ts';
import { keyBinding } from '../../secrets/account-keys.ts';
import { seal, sealingKeys } from '../../secrets/seal.ts';
import { spkiSha256OfJwk } from '../../x509/index.ts';
import { asSentence } from '../sentence.ts';
import { accountName, nameTaken, requireServerName } from './account-name.ts';
import type { Incoming } from './incoming.ts';
import { liveAccount } from './live-account.ts';
import { nameFor, serverOf } from './server-of.ts';

/**
 * Takes an account into the database: looks at what is there, asks the server, and only then inserts,
 * all in one transaction. While the server is asked no transaction is open, so that what stood in the way
 * meanwhile is refused by the database itself.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE, ERR_ACCOUNT_NAME with nothing imported.
 */
export async function takeIn(
  vault: AccountVault,
  incoming: Incoming,
  asked: { secretKey: string; name: string | undefined; server: string | undefined },
): Promise<{ row: ImportedRow; isNewServer: boolean }> {
  const keys = await sealingKeys(asked.secretKey);
  const name = accountName(asked.name ?? incoming.name, '--name');
  if (asked.server !== undefined) requireServerName(asked.server);
  const key = await importAccountKey(incoming.privateJwk);
  const { directoryUrl } = incoming;
  const proposed = incoming.serverName ?? (directoryUrl && nameFor(directoryUrl));
  const facts = await vault.facts({
    name,
    server: asked.server ?? proposed,
    directoryUrl,
    thumbprint: key.thumbprint,
  });
  if (facts.key_of !== null) throw fault(knownKey(facts.key_of));
  if (facts.is_name_taken) throw nameTaken(name, '--name');
  const { row: at, isNew } = serverOf(facts, {
    name: asked.server,
    directoryUrl,
    proposedName: proposed,
    caBundle: incoming.caBundle,
    allowedHosts: incoming.allowedHosts,
  });
  const server = new Server({
    directoryUrl: at.directory_url,
    allowedHosts: at.allowed_hosts,
    ...(at.ca_bundle === null ? {} : { caBundle: at.ca_bundle }),
  });
  try {
    const { url, resource, termsUrl } = await liveAccount(server, key, incoming.url).catch(
      (error: unknown) => {
        throw error instanceof AcmeTrouble ? unanswered(at.name, error) : error;
      },
    );
    const owner = { account: name, origin: new URL(at.directory_url).origin };
    const row: ImportedRow = {
      name,
      server: at,
      url,
      // What the server does not return is still ours.
      contact: resource.contact.length > 0 ? resource.contact : incoming.contact,
      // A server with terms has no valid account that did not agree (RFC 8555 §7.3).
      terms_agreed: true,
      terms_url: termsUrl ?? null,
      eab_kid: incoming.eabKid ?? null,
      key_algorithm: key.alg,
      jwe: await seal(keys, keyBinding(owner), privateMembers(incoming.privateJwk)),
      thumbprint: key.thumbprint,
      spki_sha256: (await spkiSha256OfJwk(key.publicJwk)).toString('hex'),
      client: incoming.client,
    };
    await vault.imported(row);
    return { row, isNewServer: isNew };
  } finally {
    await server.close();
  }
}

function unanswered(server: string, trouble: AcmeTrouble): PgacmeError {
  return new PgacmeError(
    'ERR_ACCOUNT_FILE',
    `The server ${server} cannot be asked about the account: ${asSentence(trouble.message)} Nothing was imported. One with a CA of its own needs a row in acme.server first, with its ca_bundle.`,
    { cause: trouble },
  );
}

function knownKey({ account, state }: { account: string; state: string }): string {
  return state === 'retired'
    ? `This key was replaced by a roll-over of account ${account}: it is dead, and a key is never an account's again. Take a newer export.`
    : `This key is here already, as account ${account}. There is nothing to import.`;
}

function fault(message: string): PgacmeError {
  return new PgacmeError('ERR_ACCOUNT_FILE', message);
}
