import type { Sql } from './connect.ts';

/**
 * The worker's side of the step protocol: claims and commits, one SQL function and one round trip
 * each. What the functions promise is said in sql/api/40_claim.sql to 75_reconcile.sql.
 */

interface Lease {
  id: number;
  /** Fences the commit. */
  lease: string;
  /** How long the lease lasts from `asked_at` on, in milliseconds. */
  lease_ms: number;
  /** `performance.now()` from before the lease was asked for: waiting for the answer counts. */
  asked_at: number;
  account_id: number;
  /** Changes whenever what was remembered of the account or its server no longer holds. */
  account_version: string;
}

/** A held order, with all that its step needs. */
export interface OrderClaim extends Lease {
  kind: 'order';
  step: 'create' | 'finalize' | 'download' | 'cancel' | null;
  /** This worker has just moved it here: no need to look at the server first. */
  fresh: boolean;
  csr_id: number;
  pem: string;
  identifiers: string[];
  profile: string | null;
  state: string;
  url: string | null;
  finalize_url: string | null;
  certificate_url: string | null;
}

/** A held authorization. */
export interface AuthorizationClaim extends Lease {
  kind: 'authorization';
  step: 'prove';
  url: string;
  solver: string | null;
  challenge: ChosenChallenge | null;
}

/** A challenge that was chosen and written down; published or, by hand, not yet. */
export interface ChosenChallenge {
  url: string;
  type: string;
  token: string;
  is_published: boolean;
}

/** A held account that is to be registered. */
export interface AccountClaim extends Lease {
  kind: 'account';
  step: 'register';
  contact: string[];
  terms_agreed: boolean;
  key_algorithm: 'ES256' | 'ES384' | 'RS256';
  url: string | null;
}

/** A row that this worker holds, and the step that is due on it. */
export type Claim = OrderClaim | AuthorizationClaim | AccountClaim;

/** What a job names: a kind and an id, no facts. */
export interface JobPayload {
  kind: Claim['kind'] | 'csr';
  id: number;
}

/** A csr that was taken to be judged. */
export interface ReceivedCsr {
  csr_id: number;
  pem: string;
  key_types: string[];
  max_names: number;
}

/** What the worker found about a received csr; no reasons: it is accepted as far as it can tell. */
export interface Verdict {
  csr_id: number;
  identifiers: string[];
  /** The registered domain of each identifier. */
  domains: string[];
  /** SHA-256 of the public key, hex. */
  spki: string;
  reasons: { code: string; text: string }[];
}

/** One turn of the dispatcher. */
export interface Dispatched {
  received: { lease: string; rows: ReceivedCsr[] };
  claims: Claim[];
}

/** What a worker remembers of an account, under its version. */
export interface AccountRecord {
  id: number;
  name: string;
  version: string;
  url: string | null;
  jwe: string | null;
  server: {
    id: number;
    name: string;
    directory_url: string;
    ca_bundle: string | null;
    allowed_hosts: string[];
    version: number;
  };
}

/** Why a step did not succeed; docs/design.md has the table of what follows from each class. */
export interface Failure {
  class:
    | 'waiting'
    | 'trouble'
    | 'limited'
    | 'validation'
    | 'refused'
    | 'gone'
    | 'account_lost'
    | 'person'
    | 'permanent';
  code: string;
  text: string;
  problem?: unknown;
  retry_after_ms?: number | undefined;
  /** For limited: what closes. */
  scope?: 'server' | 'account';
  /** For an authorization that ended: the state the server gave. */
  authorization_state?: string;
  identifier?: string;
}

/** The facts of a new order (RFC 8555 §7.1.3), for the database. */
export interface OrderFacts {
  url: string;
  status: string;
  finalize_url: string;
  certificate_url?: string | undefined;
  expires_at?: string | undefined;
  authorizations: readonly string[];
}

/** The facts of an authorization (RFC 8555 §7.1.4), for the database. */
export interface AuthorizationFacts {
  identifier: string;
  is_wildcard: boolean;
  expires_at?: string | undefined;
}

/** A challenge that the server offers and that we could answer. */
export interface OfferedChallenge {
  url: string;
  type: string;
  token: string;
  key_authorization: string;
}

/** A certificate that was verified, for the database; hashes in hex. */
export interface CertificateFacts {
  identifiers: string[];
  leaf_pem: string;
  chain_pem: string;
  subject: string;
  issuer: string;
  serial: string;
  not_before: string;
  not_after: string;
  spki_sha256: string;
  fingerprint_sha256: string;
}

/** Claims and commits of one worker. `take`: how many claims it goes on with; 0 when it stops. */
export class Steps {
  readonly #sql: Sql;
  readonly worker: number;

  constructor(sql: Sql, worker: number) {
    this.#sql = sql;
    this.worker = worker;
  }

  /** Takes the lease of a row; null: nothing to do. */
  async claim(kind: Claim['kind'], id: number): Promise<Claim | null> {
    const asked = performance.now();
    const claim = one<Claim | null>(
      await this.#sql`select acme_private.claim(${this.worker}, ${kind}, ${id}) as value`,
    );
    return claim && { ...claim, asked_at: asked };
  }

  /** Gives the lease back without a result. */
  async release({ kind, id, lease }: Claim): Promise<void> {
    await this.#sql`select acme_private.release(${kind}, ${id}, ${lease})`;
  }

  /** One turn of the dispatcher: stores verdicts, takes what was received, admits. */
  async dispatch(lease: string | null, verdicts: Verdict[], take: number): Promise<Dispatched> {
    const asked = performance.now();
    const turn = one<Dispatched>(
      await this.#sql`
        select acme_private.dispatch(${this.worker}, ${lease}, ${this.#json(verdicts)}, ${take}) as value`,
    );
    return { ...turn, claims: stamped(turn.claims, asked) };
  }

  /** Acts on an application's requests for a csr, or on its next try being due. */
  async attend(csr: number, take: number): Promise<Claim[]> {
    return claimed(this.#sql`select acme_private.attend(${this.worker}, ${csr}, ${take}) as value`);
  }

  async accountRecord(id: number): Promise<AccountRecord> {
    return one<AccountRecord>(
      await this.#sql`select acme_private.account_for_worker(${id}) as value`,
    );
  }

  /** False: the lease is gone, so the key must not be used. */
  async accountKeyStored(
    claim: AccountClaim,
    key: { jwe: string; thumbprint: string; spki: Buffer },
  ): Promise<boolean> {
    return one<boolean>(
      await this.#sql`
        select acme_private.account_key_stored(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${key.jwe}, ${key.thumbprint}, ${key.spki}) as value`,
    );
  }

  async accountRegistered(
    claim: AccountClaim,
    facts: { url: string; status: string; termsUrl: string | undefined },
  ): Promise<void> {
    await this.#sql`
      select acme_private.account_registered(
        ${this.worker}, ${claim.id}, ${claim.lease}, ${facts.url}, ${facts.status}, ${facts.termsUrl ?? null})`;
  }

  async orderCreated(claim: OrderClaim, facts: OrderFacts, take: number): Promise<Claim[]> {
    return claimed(
      this.#sql`
        select acme_private.order_created(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(facts)}, ${take}) as value`,
    );
  }

  /** null: the lease is gone. */
  async challengeIntended(
    claim: AuthorizationClaim,
    facts: AuthorizationFacts & { offered: OfferedChallenge[] },
  ): Promise<{ challenge: ChosenChallenge } | { refused: string } | null> {
    return one<{ challenge: ChosenChallenge } | { refused: string } | null>(
      await this.#sql`
        select acme_private.challenge_intended(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${claim.solver}, ${this.#json(facts)}) as value`,
    );
  }

  async authorizationProved(
    claim: AuthorizationClaim,
    facts: AuthorizationFacts,
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      this.#sql`
        select acme_private.authorization_proved(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(facts)}, ${take}) as value`,
    );
  }

  /** certificateUrl undefined: the server is still issuing. */
  async orderFinalized(
    claim: OrderClaim,
    certificateUrl: string | undefined,
    retryAfterMs: number | undefined,
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      this.#sql`
        select acme_private.order_finalized(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${certificateUrl ?? null}, ${retryAfterMs ?? null}, ${take}) as value`,
    );
  }

  async certificateStored(
    claim: OrderClaim,
    certificate: CertificateFacts,
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      this.#sql`
        select acme_private.certificate_stored(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(certificate)}, ${take}) as value`,
    );
  }

  async abandonedAuthorizations(order: number): Promise<{ id: number; url: string }[]> {
    return one<{ id: number; url: string }[]>(
      await this.#sql`select acme_private.abandoned_authorizations(${order}) as value`,
    );
  }

  async orderCancelled(claim: OrderClaim, deactivated: number[], take: number): Promise<Claim[]> {
    return claimed(
      this.#sql`
        select acme_private.order_cancelled(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${deactivated}, ${take}) as value`,
    );
  }

  async stepFailed(claim: Claim, failure: Failure, take: number): Promise<Claim[]> {
    return claimed(
      this.#sql`
        select acme_private.step_failed(
          ${this.worker}, ${claim.kind}, ${claim.id}, ${claim.lease}, ${this.#json({ account_version: claim.account_version, ...failure })}, ${take}) as value`,
    );
  }

  async reconcile(): Promise<void> {
    await this.#sql`select acme_private.reconcile()`;
  }

  // postgres.js types a json parameter as jsonb, which is what every function here takes.
  #json(value: unknown) {
    return this.#sql.json(value as Parameters<Sql['json']>[0]);
  }
}

function one<T>(rows: readonly Record<string, unknown>[]): T {
  return rows[0]?.['value'] as T;
}

async function claimed(query: PromiseLike<readonly Record<string, unknown>[]>): Promise<Claim[]> {
  const asked = performance.now();
  return stamped(one<Claim[]>(await query), asked);
}

function stamped(claims: Claim[], asked: number): Claim[] {
  return claims.map((claim) => ({ ...claim, asked_at: asked }));
}
