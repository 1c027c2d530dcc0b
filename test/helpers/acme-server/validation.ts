import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { isIPv6 } from 'node:net';
import { text } from 'node:stream/consumers';
import type { ValidationAttempt } from './options.ts';
import { type Problem, problemDocument } from './problem.ts';
import type { Ca, Challenge } from './store.ts';

/**
 * Judges a challenge by the options. A verdict that needs no remote and no delay is there when
 * this resolves; any other comes later, and the challenge is `processing` until then.
 */
export async function validate(ca: Ca, challenge: Challenge): Promise<void> {
  const { validation, validationDelayMs } = ca.options;
  challenge.status = 'processing';
  const done = ca.later(validationDelayMs, async () =>
    conclude(ca, challenge, await judge(ca, challenge)),
  );
  const remote = validation === 'fetch' || typeof validation === 'function';
  if (!remote && validationDelayMs === 0) await done;
}

async function judge(ca: Ca, challenge: Challenge): Promise<Problem | undefined> {
  const { validation } = ca.options;
  if (validation === 'valid') return undefined;
  if (typeof validation === 'object') return validation;
  const { type, token, authorization } = challenge;
  const { identifier, account } = authorization;
  // RFC 8555 §8.1
  const keyAuthorization = `${token}.${account.thumbprint}`;
  const attempt = { type, token, identifier, keyAuthorization };
  return validation === 'fetch' ? fetchHttp01(ca, attempt) : validation(attempt);
}

function conclude(ca: Ca, challenge: Challenge, problem: Problem | undefined): void {
  const { authorization } = challenge;
  // RFC 8555 §7.1.6: one that was deactivated or has expired meanwhile stays what it is.
  if (authorization.status !== 'pending') return;
  challenge.validations = (challenge.validations ?? 0) + 1;
  const { invalidChallengeOnly, validationRetries: retries } = ca.options;
  if (retries !== undefined && challenge.validations <= retries.times) {
    challenge.status = 'pending';
    challenge.error = problemDocument(retries.error);
    return;
  }
  if (problem) {
    challenge.status = 'invalid';
    if (!invalidChallengeOnly) authorization.status = 'invalid';
    challenge.error = problemDocument(problem);
    return;
  }
  delete challenge.error;
  challenge.status = authorization.status = 'valid';
  challenge.validated = ca.now();
  authorization.expires = ca.now() + ca.options.authorizationLifetimeMs;
}

/** RFC 8555 §8.3, with 127.0.0.1 and `httpPort` in place of the name's address and port 80. */
async function fetchHttp01(ca: Ca, attempt: ValidationAttempt): Promise<Problem | undefined> {
  const { identifier, type, token, keyAuthorization } = attempt;
  if (type !== 'http-01') {
    return { type: 'dns', detail: `Nothing is looked up for ${type}; set options.validation.` };
  }
  const host = isIPv6(identifier.value) ? `[${identifier.value}]` : identifier.value;
  const path = `/.well-known/acme-challenge/${token}`;
  try {
    const outgoing = request({
      host: '127.0.0.1',
      port: ca.options.httpPort,
      path,
      headers: { host, 'user-agent': 'pgacme-test-ca' },
      agent: false,
      signal: AbortSignal.any([ca.signal, AbortSignal.timeout(5000)]),
    }).end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const body = (await text(response)).trimEnd();
    if (response.statusCode === 200 && body === keyAuthorization) return undefined;
    const detail = `http://${host}${path} answered ${response.statusCode} and not the key authorization.`;
    return { type: 'unauthorized', status: 403, detail };
  } catch (error) {
    const detail = `http://${host}${path}: ${error instanceof Error ? error.message : 'failed'}`;
    return { type: 'connection', detail };
  }
}
