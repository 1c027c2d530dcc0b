import type { RevocationReason } from '../../x509/index.ts';

/** What claims hand to a worker, and what a worker hands to commits; sql/api says what they mean. */

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
  /** The server has been at work on it for longer than a burst of polls. */
  has_waited: boolean;
  /** For longer than a server may lag behind itself. */
  is_late: boolean;
  /** The server has the CSR, as far as the database knows. */
  is_taken: boolean;
  /** The server may have forgotten the order. */
  is_expired: boolean;
  csr_id: number;
  /** The application's own key of the csr; null: it gave none. */
  ref: string | null;
  pem: string;
  identifiers: string[];
  profile: string | null;
  /** By the name at its top, or the key's hash. */
  preferred_chain: string | null;
  /** RFC 3339; the end of validity to ask for. */
  not_after: string | null;
  /** RFC 3339; its start. */
  not_before: string | null;
  /** The certificate that it renews, where the same account ordered that. */
  replaces_pem: string | null;
  /** A renewal that nobody asked for: it may wait until the server would like it. */
  may_wait: boolean;
  /** What the server refuses that a CSR may ask for: codes of reasons. */
  refused_csr_features: string[];
  state: string;
  url: string | null;
  finalize_url: string | null;
  certificate_url: string | null;
}

/** A held authorization. */
export interface AuthorizationClaim extends Lease {
  kind: 'authorization';
  step: 'preauthorize' | 'prove' | 'deactivate';
  url: string;
  /** What is to be proved; null: the server has not said it yet. */
  identifier: string | null;
  /** The names that it may be for. */
  names: string[];
  /** The server has been at work on it for longer than a burst of polls. */
  has_waited: boolean;
  solver: string | null;
  /** The first of the csrs that it is proved for, and its ref; null: none, it was asked for before an order. */
  csr_id: number | null;
  ref: string | null;
  challenge: ChosenChallenge | null;
}

/** A challenge that was chosen and written down; published or, by hand, not yet. */
export interface ChosenChallenge {
  url: string;
  type: string;
  token: string;
  is_published: boolean;
}

/** A held account that has something to do. */
export interface AccountClaim extends Lease {
  kind: 'account';
  /** null: nothing is due. */
  step: 'register' | 'update' | 'reread' | 'roll_over' | 'deactivate' | null;
  /** Somebody asked whether the server knows it still. */
  is_verification: boolean;
  /** How long ago, in milliseconds, the server was sent its pending key first; null: it was not. */
  sent_ms: number | null;
  /** Contacts or terms changed, and the server was not told. */
  has_news: boolean;
  /** After a restore: URLs of its list of orders to look at; null: the list itself is to be read. */
  listed: string[] | null;
  /** What could not be read of the list for an hour is left. */
  is_late: boolean;
  contact: string[];
  /** A person agreed to the server's terms, and the server was not told. */
  terms_agreed: boolean;
  /** Where the server named its terms last. */
  terms_url: string | null;
  /** The terms that a person agreed to, as the server was told; null: none. */
  agreed_terms_url: string | null;
  key_algorithm: 'ES256' | 'ES384' | 'RS256';
  url: string | null;
}

/** A held certificate that is to be revoked; its account is the one that ordered it. */
export interface CertificateClaim extends Lease {
  kind: 'certificate';
  step: 'revoke';
  csr_id: number;
  leaf_pem: string;
  reason: RevocationReason;
}

/** Which account is meant, and which version of it. */
export type AccountRef = Pick<Lease, 'account_id' | 'account_version'>;

/** A row that this worker holds, and the step that is due on it. */
export type Claim = OrderClaim | AuthorizationClaim | AccountClaim | CertificateClaim;

/** What a job names: a kind and an id, no facts. */
export interface JobPayload {
  kind: Claim['kind'] | 'csr';
  id: number;
}

/** A csr that an order may have brought a certificate for: `at`, the place of the order. */
export interface CsrOfOrder {
  at: number;
  csr_id: number;
  /** The application's own key of the csr; null: it gave none. */
  ref: string | null;
  pem: string;
  identifiers: string[];
}

/** A listed order that was looked at, with what it brought for a csr of ours, if anything. */
export type ReadOrder =
  | { url: string }
  | {
      url: string;
      csr_id: number;
      finalize_url: string | undefined;
      expires_at: string | undefined;
      certificate: CertificateFacts;
    };

/** A csr that was taken to be judged. */
export interface ReceivedCsr {
  csr_id: number;
  pem: string;
  key_types: string[];
  max_names: number;
  /** What the server refuses that a CSR may ask for: codes of reasons. */
  refused_csr_features: string[];
  /** Of a certificate that another client ordered for it; null: one is to be ordered. */
  chain_pem: string | null;
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
  /** The adopted certificate, which is this csr's. */
  certificate?: CertificateFacts;
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
  /** Its key, as it is stored. */
  jwe: string | null;
  /** The key that it is to have, while it rolls over. */
  pending_jwe: string | null;
  /** Those that the server was sent and did not take, the newest first. */
  kept: { id: number; jwe: string }[];
  eab_kid: string | null;
  /** The HMAC key of its external binding, sealed. */
  eab_jwe: string | null;
  server: ServerRecord;
}

/** How to reach a server. */
export interface ServerRecord {
  id: number;
  name: string;
  directory_url: string;
  ca_bundle: string | null;
  allowed_hosts: string[];
  version: number;
}

/** What was found out about a server: acme.server_feature shows it. */
export interface ServerFact {
  /** A name of acme_private.feature; others are dropped. */
  feature: string;
  support: 'yes' | 'no';
  value?: unknown;
  /** Where it was found, in a few words. */
  source: string;
}

/** Why a step did not succeed; docs/design.md has the table of what follows from each class. */
export interface Failure {
  class:
    | 'waiting'
    | 'trouble'
    | 'limited'
    | 'validation'
    /** The server broke the order itself. */
    | 'server_error'
    | 'refused'
    | 'gone'
    | 'account_lost'
    | 'account_held'
    | 'person'
    | 'permanent'
    /** Of a revocation: not for this reason. */
    | 'reason_refused';
  code: string;
  text: string;
  problem?: unknown;
  retry_after_ms?: number | undefined;
  /** For limited: what the server named; none: it did not say. */
  limits?: Limit[];
  /** For limited: what the server said; and that, where it names nobody's names. */
  words?: string | undefined;
  shared_words?: string | undefined;
  /** For a name that the server paused: where a person lifts that. Not for applications. */
  page_url?: string;
  /** For an account that a person has to act for: where its terms of service are. */
  terms_url?: string | undefined;
  /** For an authorization that ended: the state the server gave. */
  authorization_state?: string;
  identifier?: string;
  /** A refusal that comes again for the same request, unless it was the account that was refused. */
  is_of_request?: boolean;
  /**
   * The server may have said it of the account, and not of the request: `likely`, or `possible`, as some servers say
   * of a key that the account does not have.
   */
  of_account?: 'likely' | 'possible' | undefined;
  /** The server does not find (404) what it had. */
  is_missing?: boolean;
  /** Of an order that it made without telling what is needed; `is_unusable`: nor did it when it was asked again. */
  order_url?: string;
  is_unusable?: boolean;
}

/** A limit of a server (RFC 8555 §6.6): what waits for it. */
export interface Limit {
  /**
   * All new orders of the server; those of an account for new sets of names; new sets of names with a registered
   * domain; one set of names; one name; accounts that are new to the server.
   */
  scope: 'server' | 'orders' | 'domain' | 'set' | 'identifier' | 'registrations';
  value?: string;
  /** What the server calls it. */
  name?: string;
  /** What the server said, for all who wait for it. */
  words?: string;
}

/** A new account key, for the database. */
export interface StoredKey {
  /** Sealed, or what finds it where it lives. */
  jwe: string;
  /** RFC 7638. */
  thumbprint: string;
  /** SHA-256 of the public key. */
  spki: Buffer;
}

/** What the server said of an account (RFC 8555 §7.1.2), for the database. */
export interface AccountFacts {
  status: string;
  /** Empty at CAs that do not keep contacts. */
  contact: readonly string[];
  terms_url?: string | undefined;
  /** The server was told that a person agreed to these. */
  agreed_terms_url?: string | undefined;
}

/** The facts of a new order (RFC 8555 §7.1.3), for the database. */
export interface OrderFacts {
  url: string;
  status: string;
  finalize_url?: string | undefined;
  certificate_url?: string | undefined;
  expires_at?: string | undefined;
  authorizations: readonly string[];
  /** The id of the certificate that it was said to replace (RFC 9773 §5). */
  replaces?: string | undefined;
  /** The problem with which the server refused to hear that. */
  replaces_refused?: unknown;
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
  /** Where it was downloaded. */
  url: string | null;
  identifiers: string[];
  leaf_pem: string;
  chain_pem: string;
  subject: string;
  issuer: string;
  serial: string;
  not_before: string;
  /** The earliest end of it and its issuers. */
  not_after: string;
  ends_with_issuer: boolean;
  spki_sha256: string;
  fingerprint_sha256: string;
  /** Where the server's chains lead, when none is the preferred one. */
  chains_offered?: string[];
}

/** An account key as it is stored, and whose it is. */
export interface SealedKey {
  account: string;
  directory_url: string;
  stored: string;
}

/** Hears what becomes of steps: of a failure before it is stored, of a certificate after. */
export interface StepReport {
  failed(claim: Claim, failure: Failure): void;
  issued(claim: OrderClaim, certificate: CertificateFacts): void;
}
