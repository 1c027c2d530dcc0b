import type { JWK } from 'jose';
import { type Account, type AccountKey, importAccountKey, Server } from '../acme/index.ts';
import type { AccountRecord, Claim, Steps } from '../db/steps.ts';
import { PgacmeError } from '../errors.ts';
import { open, seal, type SealingKey } from '../seal.ts';
import { spkiSha256OfJwk } from '../x509/index.ts';
import { Pace } from './pace.ts';

/** An account as a step uses it; url is empty until it is registered. */
export interface LiveAccount {
  record: AccountRecord;
  server: Server;
  /** null: no key was made yet. */
  key: AccountKey | null;
  pace: { validation: Pace; issuance: Pace };
}

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
  readonly #secret: SealingKey;
  readonly #accounts = new Map<number, Promise<LiveAccount>>();
  readonly #versions = new Map<number, string>();
  readonly #servers = new Map<number, LiveServer>();

  constructor(steps: Steps, secret: SealingKey) {
    this.#steps = steps;
    this.#secret = secret;
  }

  /** The account of a claim, with its key opened. */
  async live({ account_id: id, account_version: version }: Claim): Promise<LiveAccount> {
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

  /** The account of a claim, ready to sign with its account URL (RFC 8555 §6.2, kid). */
  async signer(claim: Claim): Promise<Account & { live: LiveAccount }> {
    const live = await this.live(claim);
    if (live.key === null || live.record.url === null) {
      throw new PgacmeError(
        'ERR_ACCOUNT',
        `The account ${live.record.name} is not registered yet; this is tried again when it is.`,
      );
    }
    return { server: live.server, url: live.record.url, key: live.key, live };
  }

  /** A new key in the form in which it is stored. */
  async sealed(
    live: LiveAccount,
    privateJwk: JWK,
    thumbprint: string,
    publicJwk: JWK,
  ): Promise<{ jwe: string; thumbprint: string; spki: Buffer }> {
    return {
      jwe: await seal(this.#secret, bindingOf(live.record), privateJwk),
      thumbprint,
      spki: await spkiSha256OfJwk(publicJwk),
    };
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers.values()].map(({ server }) => server.close()));
  }

  async #load(id: number): Promise<LiveAccount> {
    const record = await this.#steps.accountRecord(id);
    const { server, pace } = this.#server(record);
    const key =
      record.jwe === null
        ? null
        : await importAccountKey((await open(this.#secret, bindingOf(record), record.jwe)) as JWK);
    return { record, server, key, pace };
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

function bindingOf(record: AccountRecord) {
  return {
    purpose: 'account-key',
    row: record.name,
    origin: new URL(record.server.directory_url).origin,
  } as const;
}
