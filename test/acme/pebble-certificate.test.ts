import { createPrivateKey } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  certificateId,
  getRenewalInfo,
  importAccountKey,
  newAuthorization,
  newOrder,
  revokeCertificate,
} from '../../src/acme/index.ts';
import { pebbleForTests, pebbleOfThisRelease } from '../helpers/pebble.ts';
import { freshName, issue, join, prove, serverOf } from './helpers/pebble-ca.ts';

const dns = (value: string) => ({ type: 'dns', value });

test('the account that ordered a certificate has it revoked, once, for a reason that exists', async () => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  const { der } = await issue(pebble, account);
  const refused = revokeCertificate(account, der, 7);
  await expect(refused).rejects.toMatchObject({ type: 'badRevocationReason' });
  expect(await revokeCertificate(account, der, 4)).toBeUndefined();
  await expect(revokeCertificate(account, der)).rejects.toMatchObject({ type: 'alreadyRevoked' });
});

test("another account may not have it revoked, the certificate's own key may", async () => {
  const pebble = await pebbleForTests();
  const server = serverOf(pebble);
  const { der, keyPem } = await issue(pebble, await join(server));
  const key = await importAccountKey(createPrivateKey(keyPem).export({ format: 'jwk' }));
  const stranger = revokeCertificate(await join(server), der);
  await expect(stranger).rejects.toMatchObject({ type: 'unauthorized', status: 403 });
  await revokeCertificate({ server, key }, der, 1);
  await expect(revokeCertificate({ server, key }, der)).rejects.toMatchObject({
    type: 'alreadyRevoked',
  });
});

test('renewal information has a window within the lifetime, and after revocation one in the past', async () => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  const { der, certificate } = await issue(pebble, account);
  const id = certificateId(der);
  const { value, retryAfterMs } = await getRenewalInfo(account.server, id);
  const { start, end } = value.suggestedWindow;
  expect(Date.parse(start)).toBeGreaterThan(Date.now());
  expect(Date.parse(end)).toBeLessThan(Date.parse(certificate.validTo));
  expect(retryAfterMs).toBeGreaterThan(0);
  await revokeCertificate(account, der);
  const { value: revoked } = await getRenewalInfo(account.server, id);
  expect(Date.parse(revoked.suggestedWindow.end)).toBeLessThan(Date.now());
});

test('an order names the certificate that it replaces, its profile and its times', async () => {
  const profiles = { short: { description: 'For a test', validityPeriod: 86_400 } };
  const pebble = await pebbleForTests({ profiles });
  const account = await join(serverOf(pebble));
  const { der, identifiers } = await issue(pebble, account);
  const replaces = certificateId(der);
  const notBefore = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000).toISOString();
  const notAfter = new Date(Date.parse(notBefore) + 3_600_000).toISOString();
  const second = await issue(pebble, account, {
    identifiers,
    replaces,
    profile: 'short',
    notBefore,
    notAfter,
  });
  expect(second.order).toMatchObject({ replaces, profile: 'short', notBefore, notAfter });
  const { validFrom, validTo } = second.certificate;
  const times = [notBefore, notAfter].map((time) => Date.parse(time));
  expect([Date.parse(validFrom), Date.parse(validTo)]).toEqual(times);
  const again = newOrder(account, { identifiers, replaces });
  await expect(again).rejects.toMatchObject({ type: 'alreadyReplaced', status: 409 });
  const odd = newOrder(account, { identifiers, profile: 'unheard-of' });
  await expect(odd).rejects.toMatchObject({ type: 'invalidProfile' });
});

test('pre-authorization, which Pebble does not have, fails with a sentence', async () => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  await expect(newAuthorization(account, dns(freshName()))).rejects.toMatchObject({
    code: 'ERR_ACME_UNSUPPORTED',
    message: `The directory ${pebble.directoryUrl} has no newAuthz; this CA does not offer it.`,
  });
});

test('renewal information, which an old Pebble does not have, is told apart from an outage', async () => {
  const binaries = await pebbleOfThisRelease();
  if (binaries === undefined) throw new Error('There is no apt-get to fetch this Pebble with.');
  const pebble = await pebbleForTests({ binaries });
  const account = await join(serverOf(pebble));
  const { der } = await issue(pebble, account);
  const asked = getRenewalInfo(account.server, certificateId(der));
  if (pebble.version === '2.4') {
    await expect(asked).rejects.toMatchObject({ code: 'ERR_ACME_UNSUPPORTED' });
  } else {
    expect((await asked).value.suggestedWindow).toBeDefined();
  }
  await revokeCertificate(account, der, 4);
});

test('a wildcard and its base are proved by two values of one TXT name', async () => {
  const pebble = await pebbleForTests();
  const account = await join(serverOf(pebble));
  const name = freshName();
  const { value } = await newOrder(account, { identifiers: [dns(name), dns(`*.${name}`)] });
  for (const url of value.authorizations) {
    expect((await prove(pebble, account, url)).status).toBe('valid');
  }
});
