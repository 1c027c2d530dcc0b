import { createPrivateKey, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  type Account,
  certificateId,
  getAuthorization,
  getRenewalInfo,
  importAccountKey,
  newAuthorization,
  newOrder,
  revokeCertificate,
} from '../../src/acme/index.ts';
import { csrDer, makeCsr } from '../../src/x509/index.ts';
import { answerAll, clientOf, csrFor, easyServer, issue, join, orderOf } from './acme-client.ts';

const dns = (value: string) => ({ type: 'dns', value });

/** A certificate for these names: its DER, its key, and its CSR. */
async function issued(account: Account, ...names: string[]) {
  const { pem, keyPem } = await makeCsr({ names });
  const csr = csrDer(pem);
  const { chainPem } = await issue(account, csr, ...names);
  const key = await importAccountKey(createPrivateKey(keyPem).export({ format: 'jwk' }));
  return { der: new Uint8Array(new X509Certificate(chainPem).raw), key, csr };
}

test('a certificate is revoked by its account, by one that holds all names, or by its key', async () => {
  const ca = await easyServer({ revocationReasons: [0, 1, 4, 5] });
  const server = clientOf(ca);
  const [account, holder] = [await join(server), await join(server)];
  const reasonOf = (at: number) => [...ca.store.certificates.values()][at]?.revokedReason;
  const names = ['a.example.com', 'b.example.com'];
  const [first, second, third] = [
    await issued(account, ...names),
    await issued(account, ...names),
    await issued(account, ...names),
  ];
  const odd = revokeCertificate(account, first.der, 3);
  await expect(odd).rejects.toMatchObject({ type: 'badRevocationReason' });
  await revokeCertificate(account, first.der, 4);
  const again = revokeCertificate(account, first.der, 4);
  await expect(again).rejects.toMatchObject({ type: 'alreadyRevoked' });
  await orderOf(holder, 'a.example.com');
  const partly = revokeCertificate(holder, second.der);
  await expect(partly).rejects.toMatchObject({ type: 'unauthorized', status: 403 });
  await orderOf(holder, 'b.example.com');
  ca.options.reasonByOtherAccount = 5;
  await revokeCertificate(holder, second.der, 0);
  ca.options.reasonByKey = 1;
  const { key } = third;
  const wrong = revokeCertificate({ server, key: second.key }, third.der);
  await expect(wrong).rejects.toMatchObject({ type: 'unauthorized' });
  await revokeCertificate({ server, key }, third.der, 4);
  expect([reasonOf(0), reasonOf(1), reasonOf(2)]).toEqual([4, 5, 1]);
});

test('a compromised key is certified no more, and an expired certificate not revoked', async () => {
  const ca = await easyServer();
  const account = await join(clientOf(ca));
  const { der, csr } = await issued(account, 'c.example.com');
  await revokeCertificate(account, der, 1);
  await expect(issue(account, csr, 'c.example.com')).rejects.toMatchObject({ type: 'badCSR' });
  const late = await issued(account, 'c.example.com');
  ca.options.clockOffsetMs = 91 * 86_400_000;
  const expired = revokeCertificate(account, late.der);
  await expect(expired).rejects.toMatchObject({ type: 'unauthorized' });
});

test('renewal information has a window, by the lifetime or as told, and for the revoked at once', async () => {
  const ca = await easyServer({ renewalInfo: true, explanationURL: 'https://ca.example/why' });
  const account = await join(clientOf(ca));
  const { der } = await issued(account, 'd.example.com');
  const id = certificateId(der);
  const read = async () => (await getRenewalInfo(account.server, id)).value.suggestedWindow;
  const answer = await getRenewalInfo(account.server, id);
  expect(answer).toMatchObject({
    retryAfterMs: 21_600_000,
    value: { explanationURL: 'https://ca.example/why' },
  });
  const start = Date.parse(answer.value.suggestedWindow.start);
  expect(Math.round((start - Date.now()) / 86_400_000)).toBe(60);
  const window = { start: '2030-01-01T00:00:00.000Z', end: '2030-01-02T00:00:00.000Z' };
  ca.options.renewalWindow = window;
  expect(await read()).toEqual(window);
  ca.options.renewalWindow = undefined;
  await revokeCertificate(account, der);
  expect(Date.parse((await read()).end)).toBeLessThan(Date.now());
  const unknown = getRenewalInfo(account.server, `${id}A`);
  await expect(unknown).rejects.toMatchObject({ type: 'malformed', status: 404 });
});

test('a certificate is replaced once, by its own account, with a name that it has', async () => {
  const ca = await easyServer({ renewalInfo: true });
  const server = clientOf(ca);
  const [account, stranger] = [await join(server), await join(server)];
  const replaces = certificateId((await issued(account, 'e.example.com')).der);
  const order = (by: Account, name: string, id = replaces) =>
    newOrder(by, { identifiers: [dns(name)], replaces: id });
  const failures = [
    [order(stranger, 'e.example.com'), 'unauthorized'],
    [order(account, 'f.example.com'), 'malformed'],
    [order(account, 'e.example.com', 'AA.BB'), 'malformed'],
  ] as const;
  for (const [attempt, type] of failures) await expect(attempt).rejects.toMatchObject({ type });
  // Two may be open; it counts as replaced once one is finalized.
  const { value } = await order(account, 'e.example.com');
  expect(value.replaces).toBe(replaces);
  const second = await order(account, 'e.example.com');
  await answerAll(account, second.value);
  await server.post(account, second.value.finalize ?? '', {
    csr: Buffer.from(await csrFor('e.example.com')).toString('base64url'),
  });
  const again = order(account, 'e.example.com');
  await expect(again).rejects.toMatchObject({ type: 'alreadyReplaced', status: 409 });
  // A CA without renewal information knows nothing of it.
  ca.options.renewalInfo = false;
  expect((await order(account, 'e.example.com')).value.replaces).toBeUndefined();
});

test('an authorization ahead of the order serves it, and there is none for a wildcard', async () => {
  const ca = await easyServer({ preAuthorization: true, authzReuse: 'valid-and-pending' });
  const account = await join(clientOf(ca));
  const { url, value } = await newAuthorization(account, dns('G.example.com'));
  expect(value).toMatchObject({ status: 'pending', identifier: dns('g.example.com') });
  expect((await getAuthorization(account, url)).value).toEqual(value);
  const { value: order } = await newOrder(account, { identifiers: [dns('g.example.com')] });
  expect(order.authorizations).toEqual([url]);
  const wildcard = newAuthorization(account, dns('*.example.com'));
  await expect(wildcard).rejects.toMatchObject({ type: 'malformed' });
});

test('a CA may refuse orders that name their times', async () => {
  const ca = await easyServer({ orderTimes: false });
  const account = await join(clientOf(ca));
  const identifiers = [dns('h.example.com')];
  const notAfter = new Date(Date.now() + 86_400_000).toISOString();
  const refused = newOrder(account, { identifiers, notAfter });
  await expect(refused).rejects.toMatchObject({ type: 'malformed' });
  ca.options.orderTimes = true;
  expect((await newOrder(account, { identifiers, notAfter })).value.notAfter).toBe(notAfter);
});
