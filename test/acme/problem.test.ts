import { expect, test } from 'vitest';
import { AcmeProblem, newOrder } from '../../src/acme/index.ts';
import { type Handler, json, problem, rawCa } from './helpers/raw-ca.ts';

async function problemOf(handler: Handler): Promise<AcmeProblem> {
  const ca = await rawCa();
  ca.on['/new-order'] = handler;
  const error: unknown = await newOrder(await ca.account(), { identifiers: [] }).catch(
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(AcmeProblem);
  return error as AcmeProblem;
}

test('a problem keeps its short type, detail, wait, links and the document word for word', async () => {
  const document = {
    type: 'urn:ietf:params:acme:error:rateLimited',
    detail: 'too many',
    instance: 'https://ca.example/why',
    unknown: { member: [1] },
    status: 400,
  };
  const error = await problemOf((request, response) => {
    response.setHeader('link', ['</help>;rel="help"', '<data:x,y>;rel="terms-of-service"']);
    response.setHeader('date', 'Mon, 23 Nov 2026 12:00:00 GMT');
    response.setHeader('retry-after', 'Mon, 23 Nov 2026 12:00:10 GMT');
    json(document, 429, { 'content-type': 'Application/Problem+JSON ; charset=utf-8' })(
      request,
      response,
    );
  });
  expect(error).toMatchObject({
    code: 'ERR_ACME_PROBLEM',
    type: 'rateLimited',
    detail: 'too many',
    status: 429,
    instance: 'https://ca.example/why',
    retryAfterMs: 10_000,
    termsOfServiceUrl: 'data:x,y',
    document,
  });
  expect(error.helpUrl).toMatch(/^https:\/\/127\.0\.0\.1:\d+\/help$/);
  expect(error.message).toMatch(/\/new-order answered 429 rateLimited: too many$/);
});

test('NUL, escapes and lone surrogates reach neither the message nor jsonb', async () => {
  const error = await problemOf(
    json(
      '{"type":"urn:ietf:params:acme:error:mal\\u0000formed","detail":"a\\u0000b\\u001b[1m\\u202ec\\ud800"}',
      400,
      {
        'content-type': 'application/problem+json',
      },
    ),
  );
  expect(error).toMatchObject({ type: 'malformed', detail: 'ab[1mc' });
  const stored = JSON.stringify(error.document);
  expect(stored).toContain('a\\\\u0000b');
  expect(stored).toContain('c\\\\ud800');
  // What PostgreSQL refuses in jsonb is an escape with an odd number of backslashes before it.
  expect(stored).not.toMatch(/(?<!\\)(\\\\)*\\u(0000|d8)/);
});

test.each([
  ['a long detail', { detail: 'x'.repeat(900_000) }],
  ['a long member', { detail: 'short', stack: ['y'.repeat(900_000)] }],
  [
    'many subproblems',
    { detail: 'several', subproblems: Array(100).fill({ type: 'dns', detail: '😀'.repeat(1500) }) },
  ],
])('a document with %s is kept in 16 KiB', async (_, members) => {
  const body = { type: 'urn:ietf:params:acme:error:malformed', status: 400, ...members };
  const { document } = await problemOf(
    json(body, 400, { 'content-type': 'application/problem+json' }),
  );
  expect(Buffer.byteLength(JSON.stringify(document))).toBeLessThanOrEqual(16_384);
  expect(document).toMatchObject({ type: body.type, truncated: true });
  expect(String(document['detail']).slice(0, 5)).toBe(members.detail.slice(0, 5));
});

test('types outside ACME are kept whole, and a document without one is about:blank', async () => {
  const type = 'https://ca.example/errors/odd';
  const headers = { 'content-type': 'application/problem+json' };
  expect((await problemOf(json({ type, title: 'Odd' }, 400, headers))).type).toBe(type);
  const bare = await problemOf(json({ title: 'Odd' }, 500, headers));
  expect(bare).toMatchObject({ type: 'about:blank', detail: 'Odd', status: 500 });
});

test('subproblems name their identifiers; broken members do not break the problem', async () => {
  const error = await problemOf(
    problem('compound', 403, {
      detail: 7,
      subproblems: [
        {
          type: 'urn:ietf:params:acme:error:caa',
          detail: 'no',
          identifier: { type: 'dns', value: 'a.example' },
        },
        { identifier: 'x' },
        null,
        'nonsense',
      ],
      algorithms: ['ES256', 1, 'RS256'],
      instance: 5,
    }),
  );
  expect(error.detail).toBe('');
  expect(error.instance).toBeUndefined();
  expect(error.algorithms).toEqual(['ES256', 'RS256']);
  expect(error.subproblems).toEqual([
    { type: 'caa', detail: 'no', identifier: { type: 'dns', value: 'a.example' } },
    { type: 'about:blank', detail: '' },
  ]);
});

test('a problem says of itself whether it is a refusal, a limit, an error of the server, or of a type', async () => {
  const answered = async (type: string, status: number) => {
    const error = await problemOf(problem(type, status));
    const { isRefusal, isTransient, isLimit, isServerError } = error;
    const named = { isRefusal, isTransient, isLimit, isServerError };
    return Object.entries(named).flatMap(([name, value]) => (value ? [name] : []));
  };
  expect(await answered('malformed', 400)).toEqual(['isRefusal']);
  expect(await answered('unauthorized', 403)).toEqual(['isRefusal']);
  // RFC 8555 §6.6 wants 429 or 503; some servers have other statuses, or other types.
  expect(await answered('rateLimited', 429)).toEqual(['isTransient', 'isLimit']);
  expect(await answered('rateLimited', 403)).toEqual(['isTransient', 'isLimit']);
  expect(await answered('malformed', 429)).toEqual(['isTransient', 'isLimit']);
  expect(await answered('serverInternal', 500)).toEqual(['isTransient', 'isServerError']);
  expect(await answered('serverInternal', 400)).toEqual(['isTransient', 'isServerError']);
  expect(await answered('malformed', 500)).toEqual(['isTransient', 'isServerError']);
  expect(await answered('rateLimited', 503)).toEqual(['isTransient', 'isLimit', 'isServerError']);

  const error = await problemOf(problem('badCSR', 400));
  expect(error.is('badCSR')).toBe(true);
  expect(error.is('malformed', 'badCSR')).toBe(true);
  expect(error.is('malformed')).toBe(false);
  expect(error.is()).toBe(false);
});
