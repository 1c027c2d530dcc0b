import { expect, test } from 'vitest';
import { AcmeProblem, AcmeTrouble, type TroubleCode } from '../../src/acme/index.ts';
import { problemDocument } from '../../src/acme/problem.ts';
import type { Claim } from '../../src/db/steps/steps.ts';
import { failureOf } from '../../src/tasks/outcome.ts';

const URL = 'https://10.0.0.7:8443/internal';
const EXCERPT = '<h1>Grafana</h1>';

/** What each trouble may say, with an internal server's URL in it. */
const messages: Record<TroubleCode, string> = {
  ERR_ACME_NETWORK: `${URL} could not be reached (ECONNREFUSED: connect ECONNREFUSED 10.0.0.7:8443); try again later.`,
  ERR_ACME_TIMEOUT: `${URL} gave no whole answer within 30000 ms; try again later.`,
  ERR_ACME_DEADLINE: `${URL} was not asked, since the time of this step was over; run the step again.`,
  ERR_ACME_ABORTED: `${URL} was given up because the caller aborted it.`,
  ERR_ACME_NOT_JSON: `${URL} answered something that is not JSON; check that the directory URL is an ACME server's.`,
  ERR_ACME_TOO_LARGE: `${URL} answered more than 1048576 bytes; check that the directory URL is an ACME server's.`,
  ERR_ACME_REDIRECT: `https://ca.example/order answered 302, a redirect to ${URL}, and redirects are not followed.`,
  ERR_ACME_FORBIDDEN_URL: `${URL} is not visited: 10.0.0.7:8443 is not the directory's host.`,
  ERR_ACME_BAD_ANSWER: `${URL} answered with "status" missing; try again later, or report it to the CA.`,
  ERR_ACME_HTTP: `${URL} answered 502 without a problem document; try again later.`,
  ERR_ACME_NONCE: `${URL} refused 10 fresh nonces in a row; try again later.`,
  ERR_ACME_UNSUPPORTED: `The directory ${URL} has no newAuthz; this CA does not offer it.`,
};

test.each(Object.entries(messages))(
  "the reason of %s has no URL, no port's state and nothing of the answer",
  (code, message) => {
    const error = new AcmeTrouble(code as TroubleCode, message, { excerpt: EXCERPT, status: 502 });
    for (const kind of ['order', 'authorization', 'certificate'] as const) {
      const failure = failureOf(error, { kind, step: null } as unknown as Claim);
      const shown = JSON.stringify([failure?.text, failure?.problem]);
      expect(failure?.text).toMatch(/^The server .*\.$/);
      expect(shown).not.toMatch(/10\.0\.0\.7|8443|internal|https?:|ECONNREFUSED|Grafana/);
    }
  },
);

test.each([
  ['unauthorized', 403, 'likely'],
  ['accountDoesNotExist', 400, 'likely'],
  ['userActionRequired', 403, 'likely'],
  ['malformed', 400, 'possible'],
  ['rejectedIdentifier', 400, undefined],
] as const)('the outcome of %s says whether it may be of the account', (type, status, expected) => {
  const document = problemDocument({ type: `urn:ietf:params:acme:error:${type}`, detail: 'no' });
  const error = new AcmeProblem(document, { url: URL, status });
  for (const kind of ['order', 'authorization', 'certificate'] as const) {
    const failure = failureOf(error, { kind, step: null } as unknown as Claim);
    expect(failure?.of_account, kind).toBe(expected);
  }
});
