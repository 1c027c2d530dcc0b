import { AcmeProblem, AcmeTrouble, printable } from '../acme/index.ts';
import type { Claim, Failure } from '../db/steps/steps.ts';
import { PgacmeError } from '../errors.ts';
import { limitsOf, pauseOf } from './limits.ts';
import { validityCure } from './order/order-request.ts';
import { KEY_REPLACED, sentence } from './sentence.ts';

/**
 * Reads an error of the remote as an outcome of the step (docs/design.md, when things fail).
 * undefined: it is none of the remote's, but a bug or an outage of our own database.
 */
export function failureOf(error: unknown, claim: Claim): Failure | undefined {
  if (error instanceof AcmeProblem) return problemFailure(error, claim);
  if (error instanceof AcmeTrouble) return troubleFailure(error, claim);
  if (error instanceof PgacmeError && error.code === 'ERR_SEALED') {
    return {
      class: 'trouble',
      code: 'secret_key_wrong',
      text: `${error.message}${unclosed(claim)}`,
    };
  }
  if (error instanceof PgacmeError && error.code === 'ERR_ACCOUNT') {
    return { class: 'trouble', code: 'account_not_ready', text: error.message };
  }
  return undefined;
}

/** What its owner has to know of an account that is to be closed, and whose key is not there. */
function unclosed(claim: Claim): string {
  return claim.kind === 'account' && claim.step === 'deactivate'
    ? ' It is not closed at the server before a worker has the key; it orders nothing any more.'
    : '';
}

function problemFailure(error: AcmeProblem, claim: Claim): Failure {
  const text = sentence(
    `The server answered ${error.type}${error.detail === '' ? '' : `: ${printable(error.detail, 500)}`}`,
  );
  const base = {
    problem: error.document,
    retry_after_ms: error.retryAfterMs,
    of_account: ofAccount(error),
  };
  // RFC 8555 §6.6: a limit holds what it names; 503 is the whole server's.
  if (error.isLimit) {
    const pause = pauseOf(error, claim);
    if (pause !== undefined) return pause;
    return { class: 'limited', code: 'limited', text, ...limitsOf(error, claim), ...base };
  }
  if (error.status === 503 && error.retryAfterMs !== undefined) {
    return { class: 'limited', code: 'limited', text, limits: [{ scope: 'server' }], ...base };
  }
  if (claim.kind === 'certificate') return revocationFailure(error, { text, ...base });
  switch (error.type) {
    case 'accountDoesNotExist':
      if (claim.step === 'register') break;
      return {
        class: 'account_lost',
        code: 'account_lost',
        text,
        ...base,
      };
    case 'userActionRequired':
    case 'agreementRequired':
      return {
        class: 'account_held',
        code: 'user_action_required',
        text: `${text} ${actionOf(error)}`,
        terms_url: error.termsOfServiceUrl ?? error.instance,
        ...base,
      };
    case 'externalAccountRequired':
      return {
        class: 'person',
        code: 'external_account_required',
        text: `${text} This server takes only accounts that are bound to an account of its own.`,
        ...base,
      };
    case 'invalidProfile':
      return {
        class: 'person',
        code: 'invalid_profile',
        text: `${text} Insert the CSR anew with a profile that the server offers, or with none.`,
        ...base,
      };
    case 'invalidContact':
    case 'unsupportedContact':
      return {
        class: 'person',
        code: 'contact_refused',
        text: `${text} Change the account's contact.`,
        ...base,
      };
    case 'malformed': {
      const cure = claim.step === 'create' ? validityCure(claim) : undefined;
      if (cure === undefined) break;
      return { class: 'person', code: 'validity_refused', text: `${text} ${cure}`, ...base };
    }
    case 'badCSR':
    case 'badPublicKey':
    case 'rejectedIdentifier':
    case 'unsupportedIdentifier':
      if (claim.kind === 'account') break;
      return { class: 'permanent', code: 'refused_for_good', text, ...base };
    case 'unauthorized':
      if (!isNew(claim) && claim.kind !== 'account') break;
      return {
        class: 'person',
        code: 'account_refused',
        text: `${text} ${unauthorized(claim)}`,
        ...base,
      };
  }
  if (error.isServerError) {
    return { class: 'trouble', code: 'remote_trouble', text, ...base };
  }
  if (isOnWhatIsThere(claim) && error.status === 404) return gone(claim, text, error.document);
  // Boulder's 404, 409 and the like are `malformed` too, and pass.
  const isOfRequest = error.is('malformed') && error.status === 400;
  return {
    class: 'refused',
    code: 'server_refused',
    text,
    ...base,
    ...(isOfRequest ? { is_of_request: true } : {}),
  };
}

/** Whether a server may have said it of an account that has changed since, whichever the request was. */
export function ofAccount(problem: AcmeProblem): Failure['of_account'] {
  if (problem.is('unauthorized', 'accountDoesNotExist', 'userActionRequired')) return 'likely';
  return problem.is('malformed') ? 'possible' : undefined;
}

function unauthorized(claim: Claim): string {
  if (claim.kind !== 'account') {
    return 'The server does not let this account order; see acme.account_status.';
  }
  if (claim.url === null) {
    return 'The server does not let it register: ask the CA. acme.verify_account tries again.';
  }
  return `${KEY_REPLACED.charAt(0).toUpperCase()}${KEY_REPLACED.slice(1)}`;
}

/** Of a revocation; that an account may not revoke is seen to by the step itself. */
function revocationFailure(
  error: AcmeProblem,
  base: Pick<Failure, 'text' | 'problem' | 'retry_after_ms' | 'of_account'>,
): Failure {
  if (error.is('badRevocationReason')) {
    const text = `${base.text} The certificate is not revoked; ask again for another reason: CAs take unspecified, keyCompromise, superseded and cessationOfOperation, others only some.`;
    return { ...base, class: 'reason_refused', code: 'revocation_reason_refused', text };
  }
  if (error.is('accountDoesNotExist')) {
    return { ...base, class: 'account_lost', code: 'account_lost' };
  }
  if (error.isServerError) {
    return { ...base, class: 'trouble', code: 'remote_trouble' };
  }
  return { ...base, class: 'refused', code: 'server_refused' };
}

function troubleFailure(error: AcmeTrouble, claim: Claim): Failure {
  const problem = {
    type: error.code,
    ...(error.status === undefined ? {} : { status: error.status }),
    ...(error.contentType === undefined ? {} : { contentType: error.contentType }),
  };
  const base = { problem, retry_after_ms: error.retryAfterMs };
  // Accounts are the administrators' business; all others are some tenant's, who learns nothing of the network here.
  const text = sentence(claim.kind === 'account' ? error.message : withoutUrl(error), 500);
  if (
    (claim.kind === 'certificate' || claim.step === 'preauthorize') &&
    error.code === 'ERR_ACME_UNSUPPORTED'
  ) {
    return { class: 'refused', code: 'server_refused', text, ...base };
  }
  if (error.status === 429) {
    return { class: 'limited', code: 'limited', text, ...base };
  }
  if (error.status === 503 && error.retryAfterMs !== undefined) {
    return { class: 'limited', code: 'limited', limits: [{ scope: 'server' }], text, ...base };
  }
  if (error.status === 404 && isOnWhatIsThere(claim)) {
    return gone(claim, text, problem);
  }
  return { class: 'trouble', code: 'remote_trouble', text, ...base };
}

/** The trouble without URLs, addresses and the state of ports; the log has all of it. */
function withoutUrl({ code, message }: AcmeTrouble): string {
  switch (code) {
    case 'ERR_ACME_NETWORK':
    case 'ERR_ACME_TIMEOUT':
    case 'ERR_ACME_ABORTED':
    case 'ERR_ACME_DEADLINE':
      return "The server cannot be reached, or does not answer in time; the workers' logs say more.";
    case 'ERR_ACME_REDIRECT':
      return `The server answered with a redirect, and redirects are not followed; use the CA's current directory URL.`;
    case 'ERR_ACME_FORBIDDEN_URL':
      return "The server names a URL that may not be visited; if the CA does use its host, list it among the server's allowed hosts. The workers' logs say which.";
    case 'ERR_ACME_BAD_ANSWER':
    case 'ERR_ACME_HTTP':
    case 'ERR_ACME_NONCE':
    case 'ERR_ACME_NOT_JSON':
    case 'ERR_ACME_TOO_LARGE':
      return message.replace(/^\S+ /, 'The server ');
    case 'ERR_ACME_UNSUPPORTED':
      return message.replace(/^.*?https?:\S+/u, 'The server');
  }
}

/** Does the step ask for something that the server does not have yet? */
function isNew(claim: Claim): boolean {
  return claim.step === 'preauthorize' || (claim.step === 'create' && claim.url === null);
}

/** Does the server not find what it was asked for? */
export function isMissing(error: unknown): boolean {
  return (error instanceof AcmeProblem || error instanceof AcmeTrouble) && error.status === 404;
}

/** Does it speak of an order or an authorization that the server had? */
function isOnWhatIsThere(claim: Claim): boolean {
  return claim.kind !== 'account' && claim.kind !== 'certificate' && !isNew(claim);
}

function gone(claim: Claim, text: string, problem: unknown): Failure {
  return {
    class: 'gone',
    code: 'order_gone',
    text,
    problem,
    is_missing: true,
    ...(claim.kind === 'authorization' ? { authorization_state: 'expired' } : {}),
  };
}

function actionOf(error: AcmeProblem): string {
  const where = error.instance ?? error.termsOfServiceUrl;
  return `A person has to act${where === undefined ? '' : `: see ${printable(where, 300)}`}. When that is done, and you agree to the terms of service: select acme.agree_terms(account).`;
}
