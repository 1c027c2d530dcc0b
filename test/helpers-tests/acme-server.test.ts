import { X509Certificate } from 'node:crypto';
import type { JWK } from 'jose';
import { expect, test } from 'vitest';
import {
  answerChallenge,
  downloadCertificate,
  finalizeOrder,
  generateAccountKey,
  getAuthorization,
  getOrder,
  newOrder,
} from '../../src/acme/index.ts';
import { csrDer, makeCsr, verifyIssued } from '../../src/x509/index.ts';
import {
  answerAll,
  clientOf,
  csrFor,
  easyServer,
  issue,
  join,
  orderOf,
  reach,
  responder,
  testServer,
} from './acme-client.ts';

const dns = (value: string) => ({ type: 'dns', value });

test('a client proves a name by http-01 and gets a certificate that verifies', async () => {
  const http = await responder();
  const ca = await testServer({ httpPort: http.port });
  const account = await join(clientOf(ca));
  const { url, value: pending } = await newOrder(account, {
    identifiers: [dns('A.example.com')],
  });
  expect(pending).toMatchObject({ status: 'pending', identifiers: [dns('a.example.com')] });
  const [authorization = ''] = pending.authorizations;
  const { value } = await getAuthorization(account, authorization);
  expect(value.challenges.map(({ type }) => type)).toEqual(['http-01', 'dns-01']);
  const [challenge] = value.challenges;
  http.publish('a.example.com', challenge?.token ?? '', account.key);
  const answered = await answerChallenge(account, challenge?.url ?? '');
  expect(answered.value?.status).toBe('processing');
  const ready = await reach(account, url, 'ready');
  expect((await getAuthorization(account, authorization)).value.status).toBe('valid');
  const csr = await csrFor('a.example.com');
  const { value: valid } = await finalizeOrder(account, ready, csr);
  expect(valid.status).toBe('valid');
  const { chainPem } = await downloadCertificate(account, valid.certificate ?? '');
  const verdict = await verifyIssued({ chainPem, csrDer: csr, identifiers: ['a.example.com'] });
  expect(verdict).toMatchObject({ ok: true });
  const [leaf, intermediate, more] = chainPem.split(/(?=-----BEGIN)/);
  expect(more).toBeUndefined();
  const root = new X509Certificate(ca.authority.rootPem());
  expect(new X509Certificate(intermediate ?? '').verify(root.publicKey)).toBe(true);
  expect(new X509Certificate(leaf ?? '').subjectAltName).toBe('DNS:a.example.com');
  expect([ca.count('newAccount'), ca.count('newOrder'), ca.count('finalize')]).toEqual([1, 1, 1]);
});

test('a wrong or absent http-01 answer makes challenge, authorization and order invalid', async () => {
  const http = await responder();
  const ca = await testServer({ httpPort: http.port });
  const account = await join(clientOf(ca));
  const fails = async () => {
    const { url, value } = await newOrder(account, { identifiers: [dns('b.example.com')] });
    const [authorization = ''] = value.authorizations;
    await answerAll(account, value);
    await reach(account, url, 'invalid');
    return (await getAuthorization(account, authorization)).value;
  };
  const wrong = await fails();
  expect(wrong.status).toBe('invalid');
  expect(wrong.challenges[0]).toMatchObject({
    status: 'invalid',
    error: { type: 'unauthorized' },
  });
  ca.options.httpPort = 1;
  expect((await fails()).challenges[0]).toMatchObject({ error: { type: 'connection' } });
  ca.options.validation = { type: 'caa', detail: 'CAA forbids it.' };
  expect((await fails()).challenges[0]).toMatchObject({ error: { type: 'caa' } });
});

test('a wildcard is offered dns-01 alone, and a name that nothing can prove is rejected', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const { value } = await newOrder(account, { identifiers: [dns('*.example.com')] });
  expect(value.identifiers).toEqual([dns('*.example.com')]);
  const [url = ''] = value.authorizations;
  const { value: authorization } = await getAuthorization(account, url);
  expect(authorization).toMatchObject({ identifier: dns('example.com'), wildcard: true });
  expect(authorization.challenges.map(({ type }) => type)).toEqual(['dns-01']);
  ca.options.offeredChallenges = ['http-01'];
  const refused = newOrder(account, { identifiers: [dns('*.example.com')] });
  await expect(refused).rejects.toMatchObject({ type: 'rejectedIdentifier' });
});

test('orders for names that are malformed, blocked or of another type are refused', async () => {
  const ca = await easyServer({ blockedNames: ['bad.example.com'], identifierTypes: ['dns'] });
  const account = await join(clientOf(ca));
  const refusal = (...identifiers: { type: string; value: string }[]) =>
    newOrder(account, { identifiers });
  for (const name of ['münchen.example', 'a.example.com.', 'a..b', 'x.*.example', '-a.example']) {
    await expect(refusal(dns(name)), name).rejects.toMatchObject({ type: 'malformed' });
  }
  await expect(refusal()).rejects.toMatchObject({ type: 'malformed' });
  await expect(refusal({ type: 'ip', value: '192.0.2.1' })).rejects.toMatchObject({
    type: 'unsupportedIdentifier',
  });
  await expect(refusal(dns('ok.example.com'), dns('bad.example.com'))).rejects.toMatchObject({
    type: 'rejectedIdentifier',
    subproblems: [{ type: 'rejectedIdentifier', identifier: dns('bad.example.com') }],
  });
  expect(ca.store.orders.size).toBe(0);
});

test('finalize takes only a request for exactly the names, by a key of its own', async () => {
  const ca = await easyServer();
  const key = await generateAccountKey();
  const account = await join(clientOf(ca), key);
  const name = 'c.example.com';
  const { url, value: pending } = await newOrder(account, { identifiers: [dns(name)] });
  const good = await csrFor(name);
  await expect(finalizeOrder(account, pending, good)).rejects.toMatchObject({
    type: 'orderNotReady',
    status: 403,
  });
  await answerAll(account, pending);
  const accountKeys = await accountKeyPair(key.privateJwk);
  const stolen = csrDer((await makeCsr({ names: [name], key: accountKeys })).pem);
  const weak = csrDer((await makeCsr({ names: [name], algorithm: 'RSA-1024' })).pem);
  const forged = Uint8Array.from(good);
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
  const wrong = [
    await csrFor(name, 'd.example.com'),
    await csrFor('d.example.com'),
    Buffer.from('not DER'),
    stolen,
    weak,
    forged,
  ];
  for (const csr of wrong) {
    await expect(finalizeOrder(account, pending, csr)).rejects.toMatchObject({ type: 'badCSR' });
  }
  expect((await getOrder(account, url)).value.status).toBe('ready');
  expect((await finalizeOrder(account, pending, good)).value.status).toBe('valid');
  await expect(finalizeOrder(account, pending, good)).rejects.toMatchObject({
    type: 'orderNotReady',
  });
});

test('a slow CA says processing, and when to come again', async () => {
  const ca = await easyServer({ retryAfter: 7 });
  const account = await join(clientOf(ca));
  let judge = (_: undefined) => {};
  const verdict = new Promise<undefined>((resolve) => (judge = resolve));
  ca.options.validation = () => verdict;
  const url = await orderOf(account, 'e.example.com');
  const { value: pending } = await getOrder(account, url);
  const waiting = await getAuthorization(account, pending.authorizations[0] ?? '');
  expect(waiting).toMatchObject({ value: { status: 'pending' }, retryAfterMs: 7000 });
  expect(waiting.value.challenges[0]?.status).toBe('processing');
  judge(undefined);
  await reach(account, url, 'ready');
  ca.options.retryAfterAsDate = true;
  ca.options.finalizeDelayMs = 1;
  const finalized = await finalizeOrder(account, pending, await csrFor('e.example.com'));
  expect(finalized.value.status).toBe('processing');
  // Whole seconds, which may turn between the two dates of an answer.
  expect([6000, 7000]).toContain(finalized.retryAfterMs);
  await reach(account, url, 'valid');
});

test('validation and issuance take as long as told, and issuance may fail at the end', async () => {
  const ca = await easyServer({ validationDelayMs: 100, finalizeDelayMs: 100 });
  const account = await join(clientOf(ca));
  const csr = await csrFor('f.example.com');
  const take = async (work: () => Promise<unknown>) => {
    const start = performance.now();
    await work();
    // A timer may fire one millisecond early.
    expect(performance.now() - start).toBeGreaterThan(98);
  };
  const url = await orderOf(account, 'f.example.com');
  await take(async () => reach(account, await orderOf(account, 'f.example.com'), 'ready'));
  const ready = await reach(account, url, 'ready');
  ca.options.issuanceProblem = { type: 'caa', detail: 'Not at the last look.' };
  await take(async () => {
    await finalizeOrder(account, ready, csr);
    expect(await reach(account, url, 'invalid')).toMatchObject({ error: { type: 'caa' } });
  });
});

test('each flaw makes a certificate that is not the one asked for', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const name = 'g.example.com';
  const csr = await csrFor(name);
  const verdict = async (certificate: typeof ca.options.certificate) => {
    ca.options.certificate = certificate;
    const { chainPem } = await issue(account, csr, name);
    return verifyIssued({ chainPem, csrDer: csr, identifiers: [name] });
  };
  expect(await verdict({})).toMatchObject({ ok: true });
  expect(await verdict({ wrongKey: true })).toMatchObject({ ok: false });
  expect(await verdict({ extraNames: ['h.example.com'] })).toMatchObject({ ok: false });
  expect(await verdict({ chain: 'foreign' })).toMatchObject({ ok: false });
  const [notBefore, notAfter] = [new Date('2020-01-01'), new Date('2020-04-01')];
  expect(await verdict({ notBefore, notAfter })).toMatchObject({
    certificate: { notBefore, notAfter },
  });
  ca.options.certificate = { missingNames: [name] };
  const both = [name, 'h.example.com'];
  const less = await issue(account, await csrFor(...both), ...both);
  expect(new X509Certificate(less.chainPem).subjectAltName).toBe('DNS:h.example.com');
  ca.options.certificate = { chain: 'leaf-only' };
  expect((await issue(account, csr, name)).chainPem.match(/BEGIN/g)).toHaveLength(1);
  ca.options.certificate = { chain: 'with-root' };
  expect((await issue(account, csr, name)).chainPem).toContain(ca.authority.rootPem().trim());
  ca.options.certificate = { pem: (pem) => `${pem}-----BEGIN PRIVATE KEY-----\n` };
  await expect(issue(account, csr, name)).rejects.toMatchObject({ code: 'ERR_ACME_BAD_ANSWER' });
});

test('alternate chains end at other roots', async () => {
  const ca = await easyServer({ alternateChains: 1 });
  const account = await join(clientOf(ca));
  const csr = await csrFor('j.example.com');
  const { alternates, chainPem } = await issue(account, csr, 'j.example.com');
  expect(alternates).toHaveLength(1);
  const other = await downloadCertificate(account, alternates[0] ?? '');
  expect(other.chainPem).not.toBe(chainPem);
  const verdict = await verifyIssued({ ...other, csrDer: csr, identifiers: ['j.example.com'] });
  expect(verdict).toMatchObject({ ok: true });
  const intermediate = new X509Certificate(other.chainPem.split(/(?=-----BEGIN)/)[1] ?? '');
  expect(intermediate.verify(new X509Certificate(ca.authority.rootPem(1)).publicKey)).toBe(true);
  expect(other.alternates).toHaveLength(1);
});

test('a certificate is revoked once, by its account or by its key alone', async () => {
  const ca = await easyServer();
  const server = clientOf(ca);
  const [account, stranger] = [await join(server), await join(server)];
  const { chainPem } = await issue(account, await csrFor('k.example.com'), 'k.example.com');
  const certificate = new X509Certificate(chainPem).raw.toString('base64url');
  const revoke = (signer: object, reason: number) =>
    server.post(signer as typeof account, ca.link('revokeCert'), { certificate, reason });
  await expect(revoke(stranger, 0)).rejects.toMatchObject({ type: 'unauthorized' });
  await expect(revoke({ key: account.key }, 1)).rejects.toMatchObject({ type: 'unauthorized' });
  await expect(revoke(account, 7)).rejects.toMatchObject({ type: 'badRevocationReason' });
  await revoke(account, 4);
  expect([...ca.store.certificates.values()][0]?.revokedReason).toBe(4);
  await expect(revoke(account, 4)).rejects.toMatchObject({ type: 'alreadyRevoked' });
});

/** The account's key as a pair, to make the request that no CA may accept. */
async function accountKeyPair(jwk: JWK) {
  const { kty, crv, x, y } = jwk as { kty: string; crv: string; x: string; y: string };
  const algorithm = { name: 'ECDSA', namedCurve: crv };
  const { subtle } = crypto;
  return {
    privateKey: await subtle.importKey('jwk', jwk, algorithm, true, ['sign']),
    publicKey: await subtle.importKey('jwk', { kty, crv, x, y }, algorithm, true, ['verify']),
  };
}
