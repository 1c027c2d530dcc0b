import { randomBytes } from 'node:crypto';
import type { JWK } from 'jose';
import type { Authority } from './certificates.ts';
import type { AcmeServerOptions } from './options.ts';
import type { JsonObject } from './problem.ts';

/** The resources of RFC 8555 §7.1, by the names that faults and counts use. */
export type Resource =
  | 'directory'
  | 'newNonce'
  | 'newAccount'
  | 'account'
  | 'orders'
  | 'keyChange'
  | 'newAuthz'
  | 'newOrder'
  | 'order'
  | 'authorization'
  | 'challenge'
  | 'finalize'
  | 'certificate'
  | 'revokeCert'
  | 'renewalInfo';

/** A name or address as it crosses the wire (RFC 8555 §7.1.3). */
export interface Identifier {
  readonly type: string;
  readonly value: string;
}

/** An account (RFC 8555 §7.1.2). */
export interface Account {
  readonly id: string;
  readonly url: string;
  /** Kept as one object: jose caches the imported key by its identity. */
  jwk: JWK;
  thumbprint: string;
  /** Base64 of the public key's SPKI, to compare with certificates and requests. */
  spki: string;
  /** A test sets `revoked`, which is the server's own doing (§7.1.6). */
  status: 'valid' | 'deactivated' | 'revoked';
  contact: readonly string[];
  /** The terms that were agreed to; a test sets it for a person who agrees on the CA's page. */
  agreedTerms: string | undefined;
  readonly externalAccountBinding?: JsonObject;
}

/** An order (RFC 8555 §7.1.3). */
export interface Order {
  readonly id: string;
  readonly account: Account;
  /** As ordered, wildcards with their `*.`; sorted, lower case, unique. */
  readonly identifiers: readonly Identifier[];
  readonly authorizations: readonly Authorization[];
  readonly expires: number;
  readonly request: {
    readonly profile?: string;
    readonly replaces?: string;
    notBefore?: string;
    notAfter?: string;
  };
  /** `open` is read as pending, ready or invalid, depending on the authorizations. */
  state: 'open' | 'processing' | 'valid' | 'invalid';
  error?: JsonObject;
  certificate?: Certificate;
  /** Since when all of its authorizations are valid, and its CSR was taken. */
  provedAt?: number;
  finalizedAt?: number;
}

/** An authorization (RFC 8555 §7.1.4); its identifier has no `*.`. */
export interface Authorization {
  readonly id: string;
  readonly account: Account;
  readonly identifier: Identifier;
  readonly wildcard: boolean;
  readonly challenges: Challenge[];
  status: 'pending' | 'valid' | 'invalid' | 'deactivated' | 'expired' | 'revoked';
  expires: number;
}

/** A challenge (RFC 8555 §7.1.5, §8). */
export interface Challenge {
  readonly id: string;
  readonly authorization: Authorization;
  readonly type: string;
  readonly token: string;
  status: 'pending' | 'processing' | 'valid' | 'invalid';
  validated?: number;
  error?: JsonObject;
  /** How often it was validated. */
  validations?: number;
}

/** An issued certificate, with all its chains. */
export interface Certificate {
  readonly id: string;
  readonly account: Account;
  readonly identifiers: readonly Identifier[];
  readonly serial: string;
  /** Base64 of the leaf's DER, and of its public key's SPKI. */
  readonly der: string;
  readonly spki: string;
  /** The default chain, then the alternates: each leaf first. */
  readonly chains: readonly string[];
  /** Its name in renewal information (RFC 9773 §4.1), and its times in milliseconds. */
  readonly renewalId: string;
  readonly notBefore: number;
  readonly notAfter: number;
  revokedReason?: number;
  /** Whether an order that replaces it has been finalized (RFC 9773 §5). */
  replaced?: boolean;
}

/** Everything the server remembers. Ids are random, so that a forgotten URL never comes back. */
export class Store {
  readonly nonces = new Set<string>();
  readonly accounts = new Map<string, Account>();
  readonly orders = new Map<string, Order>();
  readonly authorizations = new Map<string, Authorization>();
  readonly challenges = new Map<string, Challenge>();
  readonly certificates = new Map<string, Certificate>();
  /** Key ids of external accounts that have bound an account. */
  readonly boundKids = new Set<string>();
  /** SPKI (base64) of certificate keys that were reported as compromised. */
  readonly blockedKeys = new Set<string>();
  /** When a path was asked for first. */
  readonly firstAsked = new Map<string, number>();

  newNonce(): string {
    const nonce = newId();
    this.nonces.add(nonce);
    return nonce;
  }

  accountByThumbprint(thumbprint: string): Account | undefined {
    return [...this.accounts.values()].find((account) => account.thumbprint === thumbprint);
  }
}

/** What resources know of the server around them. */
export interface Ca {
  readonly options: AcmeServerOptions;
  readonly store: Store;
  readonly authority: Authority;
  /** Aborted by stop(). */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970 by the server's own clock. */
  now(): number;
  link(resource: Resource, ...path: string[]): string;
  /** Runs the work after so many milliseconds, or at once; the promise is that of the work. */
  later(ms: number, work: () => Promise<void> | void): Promise<void>;
}

/** A random id of 128 bits in base64url, also good as token and nonce. */
export function newId(): string {
  return randomBytes(16).toString('base64url');
}

/** A time as RFC 3339 without fractions, as CAs write it. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+/, '');
}
