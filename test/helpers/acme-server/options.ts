import type { Problem } from './problem.ts';
import type { Identifier, Resource } from './store.ts';

/** What a validation function is told; it answers with a problem, or nothing when all is well. */
export interface ValidationAttempt {
  readonly identifier: Identifier;
  readonly type: string;
  readonly token: string;
  readonly keyAuthorization: string;
}

/** How challenges are judged: a real http-01 fetch, always valid, always this problem, or a function. */
export type Validation =
  'fetch' | 'valid' | Problem | ((attempt: ValidationAttempt) => Promise<Problem | undefined>);

/** Ways in which a certificate may come out wrong. */
export interface CertificateFlaws {
  /** The certificate holds another public key than the request's. */
  readonly wrongKey?: boolean;
  /** DNS names added to the certificate. */
  readonly extraNames?: readonly string[];
  /** DNS names left out of it. */
  readonly missingNames?: readonly string[];
  /** `foreign`: an intermediate of the same name with another key; `leaf-only`: none; `with-root`. */
  readonly chain?: 'foreign' | 'leaf-only' | 'with-root';
  /** When the issuer ends. */
  readonly issuerNotAfter?: Date;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Rewrites the PEM at download. */
  readonly pem?: (pem: string) => string;
}

/** Everything that may be changed while the server runs; times are milliseconds. */
export interface AcmeServerOptions {
  /** Where http-01 is fetched: the port on 127.0.0.1 that stands in for port 80. */
  httpPort: number;
  /** Added to the server's clock: to its dates, and to what has expired. */
  clockOffsetMs: number;
  orderLifetimeMs: number;
  pendingAuthorizationLifetimeMs: number;
  /** How long an authorization stays valid once it is. */
  authorizationLifetimeMs: number;
  /** Which existing authorizations of the account a new order may use. */
  authzReuse: 'never' | 'valid' | 'valid-and-pending';
  /** Hand back a pending or ready order for the same names, as Boulder does. */
  reuseOrders: boolean;
  /** An expired order reads as `invalid` (RFC 8555 §7.1.6) or is not found any more. */
  expiredOrders: 'invalid' | 'gone';
  offeredChallenges: readonly string[];
  validation: Validation;
  validationDelayMs: number;
  /** 0: finalize answers with a valid order; else the order is `processing` for this long. */
  finalizeDelayMs: number;
  /** Finalize is accepted, then the order becomes invalid with this error. */
  issuanceProblem: Problem | undefined;
  /** Retry-After in seconds, sent while an order or challenge is processing. */
  retryAfter: number | undefined;
  retryAfterAsDate: boolean;
  /** How long an order still reads `pending` once all of its authorizations are valid. */
  orderLagMs: number;
  /** How long an order still reads `ready` once its CSR was taken. */
  finalizedLagMs: number;
  /** How long a resource answers 404 from the first request on, as a replica that lags behind does. */
  unknownForMs: Readonly<Partial<Record<Resource, number>>>;
  /** A failed challenge leaves its authorization pending, as Smallstep's library does. */
  invalidChallengeOnly: boolean;
  /** So many validations leave a challenge pending, with this error (RFC 8555 §8.2). */
  validationRetries: { readonly times: number; readonly error: Problem } | undefined;
  /** The list of orders is a bare array, as Smallstep's library has it. */
  ordersAsArray: boolean;
  /** Changed while accounts exist, they must agree anew before they order (RFC 8555 §7.3.3). */
  termsOfService: string | undefined;
  /** Whether an account agrees to changed terms by an update, or a person on the CA's page alone. */
  termsByUpdate: boolean;
  /** False: contacts are taken and forgotten, as Let's Encrypt does. */
  keepsContacts: boolean;
  /** MAC keys (base64url) by key id: set, new accounts must be bound to one (§7.3.4). */
  externalAccounts: Readonly<Record<string, string>> | undefined;
  /** A key id binds one account and no second. */
  externalAccountsOnce: boolean;
  /** Answers 200 to a key change that it does not do, as Pebble does for a key that is taken. */
  keyChangeDoesNothing: boolean;
  /** Whether the directory has newAuthz (§7.4.1). */
  preAuthorization: boolean;
  /** How many orders a page of an account's list has (§7.1.2.1); undefined: there is no list. */
  ordersPerPage: number | undefined;
  identifierTypes: readonly string[];
  /** Names refused as rejectedIdentifier, with a subproblem for each. */
  blockedNames: readonly string[];
  profiles: Readonly<Record<string, string>>;
  algorithms: readonly string[];
  /** False: an order that names its times is refused, as at Let's Encrypt. */
  orderTimes: boolean;
  certificateLifetimeMs: number;
  certificate: CertificateFlaws;
  /** How many other chains each certificate has (RFC 8555 §7.4.2, Link rel="alternate"). */
  alternateChains: number;
  /** Reasons that revokeCert takes (RFC 5280 §5.3.1). */
  revocationReasons: readonly number[];
  /** What a revocation counts as, whatever it says, by another account or by the key; undefined: as said. */
  reasonByOtherAccount: number | undefined;
  reasonByKey: number | undefined;
  /** Whether the directory has renewalInfo (RFC 9773), and orders may say what they replace. */
  renewalInfo: boolean;
  /** The window to suggest for every certificate; a third before the end unless set. */
  renewalWindow: { readonly start: string; readonly end: string } | undefined;
  explanationURL: string | undefined;
  renewalRetryAfter: number | undefined;
}

const HOUR = 3_600_000;

/** The options of a server that nobody told otherwise. */
export function defaultOptions(): AcmeServerOptions {
  return {
    httpPort: 80,
    clockOffsetMs: 0,
    orderLifetimeMs: 24 * HOUR,
    pendingAuthorizationLifetimeMs: HOUR,
    authorizationLifetimeMs: HOUR,
    authzReuse: 'never',
    reuseOrders: false,
    expiredOrders: 'invalid',
    offeredChallenges: ['http-01', 'dns-01'],
    validation: 'fetch',
    validationDelayMs: 0,
    finalizeDelayMs: 0,
    issuanceProblem: undefined,
    retryAfter: undefined,
    retryAfterAsDate: false,
    orderLagMs: 0,
    finalizedLagMs: 0,
    unknownForMs: {},
    invalidChallengeOnly: false,
    validationRetries: undefined,
    ordersAsArray: false,
    termsOfService: 'https://ca.example/terms/v1',
    termsByUpdate: true,
    keepsContacts: true,
    externalAccounts: undefined,
    externalAccountsOnce: false,
    keyChangeDoesNothing: false,
    preAuthorization: false,
    ordersPerPage: undefined,
    identifierTypes: ['dns', 'ip'],
    blockedNames: [],
    profiles: {},
    algorithms: ['ES256', 'ES384', 'ES512', 'RS256'],
    orderTimes: true,
    certificateLifetimeMs: 90 * 24 * HOUR,
    certificate: {},
    alternateChains: 0,
    revocationReasons: [0, 1, 2, 3, 4, 5, 6, 8, 9, 10],
    reasonByOtherAccount: undefined,
    reasonByKey: undefined,
    renewalInfo: false,
    renewalWindow: undefined,
    explanationURL: undefined,
    renewalRetryAfter: 21_600,
  };
}
