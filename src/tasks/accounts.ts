import {
  type Account,
  type AccountKey,
  type ExternalAccount,
  type KeyAlgorithm,
  Server,
} from '../acme/index.ts';
import type { AccountRecord, AccountRef, Steps, StoredKey } from '../db/steps/steps.ts';
import { PgacmeError } from '../errors.ts';
import { type AccountKeys, eabBinding, type KeyOwner } from '../secrets/account-keys.ts';
import { open, type SealingKeys } from '../secrets/seal.ts';
import { spkiSha256OfJwk } from '../x509/index.ts';
import { Pace } from './pace.ts';

/** An account as a step uses it; url is empty until it is registered. */
export interface LiveAccount {
  record: AccountRecord;
  server: Server;
  /** null: no key was made yet. */
  key: AccountKey | null;
  /** The key that it is to have, while it rolls over. */
  pending: AccountKey | null;
  pace: { validation: Pace; issuance: Pace };
}

/** An account that is registered, as requests are signed for it. */
export type Signer = Account & { live: LiveAccount };

interface LiveServer {
  version: number;
  server: Server;
  pace: LiveAccount['pace'];
}

/**
 * The accounts and servers that this worker has spoken for: opened keys, directories, nonces and
 * connections live in memory only. Every claim says which version of an account it is of; another
 * version is read anew, so that a change in the database is never missed.
 */
export class Accounts {
  readonly #steps: Steps;
  readonly #secret: SealingKeys;
  readonly #keys: AccountKeys;
  readonly #accounts = new Map<number, Promise<LiveAccount>>();
  readonly #versions = new Map<number, string>();
  readonly #servers = new Map<number, LiveServer>();

  constructor(steps: Steps, secret: SealingKeys, keys: AccountKeys) {
    this.#steps = steps;
    this.#secret = secret;
    this.#keys = keys;
  }

  /** The account of a claim, with its key opened. */
  async live({ account_id: id, account_version: version }: AccountRef): Promise<LiveAccount> {
    const known = this.#accounts.get(id);
    if (known !== undefined && this.#versions.get(id) === version) return known;
    const loading = this.#load(id);
    this.#accounts.set(id, loading);
    this.#versions.set(id, version);
    try {
      const live = await loading;
      // What was read may be newer than the claim; the next claim then finds it right.
      this.#versions.set(id, live.record.version);
      return live;
    } catch (error) {
      this.#accounts.delete(id);
      this.#versions.delete(id);
      throw error;
    }
  }

  /** As signerOrReason(), whose reason is thrown: what it means for a step is in outcome.ts. */
  async signer(claim: AccountRef): Promise<Signer> {
    const signer = await this.signerOrReason(claim);
    if (signer instanceof PgacmeError) throw signer;
    return signer;
  }

  /**
   * The account of a claim, ready to sign with its account URL (RFC 8555 §6.2, kid); or the reason why this worker
   * cannot speak for it: it is not registered, or its key is sealed with another secret key.
   */
  async signerOrReason(claim: AccountRef): Promise<Signer | PgacmeError> {
    const live = await orReason(this.live(claim));
    if (live instanceof PgacmeError) return live;
    if (live.key === null || live.record.url === null) {
      return new PgacmeError(
        'ERR_ACCOUNT',
        `The account ${live.record.name} is not registered yet; this is tried again when it is.`,
      );
    }
    return { server: live.server, url: live.record.url, key: live.key, live };
  }

  /**
   * Makes a key for an account and has it stored before anybody sees it. null: it was not stored, since the
   * lease is gone, and must not be used.
   */
  async newKey(
    { record }: LiveAccount,
    alg: KeyAlgorithm,
    store: (stored: StoredKey) => Promise<boolean>,
  ): Promise<AccountKey | null> {
    const { key, stored } = await this.#keys.make(ownerOf(record), alg);
    const { thumbprint, publicJwk } = key;
    const spki = await spkiSha256OfJwk(publicJwk);
    return (await store({ jwe: stored, thumbprint, spki })) ? key : null;
  }

  /** The keys that the server was sent and did not take, opened, as far as this worker can. */
  async *kept({ record }: LiveAccount): AsyncGenerator<{ id: number; key: AccountKey }> {
    for (const { id, jwe } of record.kept) {
      const key = await orReason(this.#keys.open(ownerOf(record), jwe));
      if (!(key instanceof PgacmeError)) yield { id, key };
    }
  }

  /** What binds an account to one of the CA's own (RFC 8555 §7.3.4); undefined: nothing was given. */
  async binding({ record }: LiveAccount): Promise<ExternalAccount | undefined> {
    const { eab_kid: kid, eab_jwe: jwe } = record;
    if (kid === null || jwe === null) return undefined;
    const hmac = await open(this.#secret, eabBinding(ownerOf(record)), jwe);
    return { kid, hmacKey: Buffer.from(String(hmac), 'base64url') };
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers.values()].map(({ server }) => server.close()));
  }

  async #load(id: number): Promise<LiveAccount> {
    const record = await this.#steps.accountRecord(id);
    const { server, pace } = this.#server(record);
    const opened = async (stored: string | null) =>
      stored === null ? null : this.#keys.open(ownerOf(record), stored);
    const key = await opened(record.jwe);
    return { record, server, key, pending: await opened(record.pending_jwe), pace };
  }

  #server({ server: row }: AccountRecord): LiveServer {
    const known = this.#servers.get(row.id);
    if (known?.version === row.version) return known;
    const live: LiveServer = {
      version: row.version,
      server: new Server({
        directoryUrl: row.directory_url,
        allowedHosts: row.allowed_hosts,
        ...(row.ca_bundle === null ? {} : { caBundle: row.ca_bundle }),
      }),
      pace: { validation: new Pace(), issuance: new Pace() },
    };
    this.#servers.set(row.id, live);
    // Requests under way on the old one finish first.
    void known?.server.close();
    return live;
  }
}

/** An error that has a sentence of ours is a value; any other is thrown. */
async function orReason<T>(given: Promise<T>): Promise<T | PgacmeError> {
  return given.catch((error: unknown) => {
    if (error instanceof PgacmeError) return error;
    throw error;
  });
}

function ownerOf(record: AccountRecord): KeyOwner {
  return { account: record.name, origin: new URL(record.server.directory_url).origin };
}
