import { AcmeError } from './problem.ts';

/** What a CAA record shall allow (RFC 8659 §4.2, RFC 8657 §3, §4). */
export interface CaaAllowance {
  /** The CA's own name, one of the directory's `caaIdentities`. */
  issuer: string;
  /** Only this account may (RFC 8657 §3). */
  accountUrl?: string;
  /** Only by these challenge types (RFC 8657 §4). */
  validationMethods?: readonly string[];
  /** For wildcards, in place of other names (RFC 8659 §4.3). */
  wildcard?: boolean;
}

/**
 * The text of a CAA record (RFC 8659 §4.1.1, §4.2) that lets one CA issue, and if wanted only for one
 * account and by some challenge types (RFC 8657): `0 issue "ca.example; accounturi=…"`. Throws
 * ERR_ACME_CAA for what cannot stand in such a record.
 */
export function caaRecord(allowance: CaaAllowance): string {
  const { issuer, accountUrl, validationMethods, wildcard } = allowance;
  if (!/^[A-Za-z0-9](-*[A-Za-z0-9])*(\.[A-Za-z0-9](-*[A-Za-z0-9])*)*$/.test(issuer)) {
    throw bad('issuer', "one of the directory's caaIdentities");
  }
  if (validationMethods?.every((method) => /^[A-Za-z0-9-]+$/.test(method)) === false) {
    throw bad('validation methods', 'challenge types such as dns-01');
  }
  // RFC 8659 §4.2: visible ASCII without the semicolon, which would begin another parameter.
  if (accountUrl !== undefined && !/^[\x21-\x3a\x3c-\x7e]+$/.test(accountUrl)) {
    throw bad('account URL', 'the URL of the account, in ASCII and without semicolons');
  }
  const value = [
    issuer,
    ...(accountUrl === undefined ? [] : [`accounturi=${accountUrl}`]),
    ...(validationMethods?.length ? [`validationmethods=${validationMethods.join(',')}`] : []),
  ].join('; ');
  return `0 ${wildcard ? 'issuewild' : 'issue'} "${value.replace(/["\\]/g, '\\$&')}"`;
}

function bad(what: string, cure: string): AcmeError {
  return new AcmeError('ERR_ACME_CAA', `The ${what} cannot stand in a CAA record; give ${cure}.`);
}
