import { describe, expect, test } from 'vitest';
import { certificateId, getRenewalInfo } from '../../src/acme/index.ts';
import { csrDer, makeCsr } from '../../src/x509/index.ts';
import { json, rawCa } from './helpers/raw-ca.ts';

const ID = 'aYhba4dGAEHhs3uEe6CuLN4ByNQ.AIdlQyE';

test('the id of a certificate is the one of RFC 9773 §4.1', () => {
  const authorityKeyIdentifier = Buffer.from('69885B6B87460041E1B37B847BA0AE2CDE01C8D4', 'hex');
  const serialNumber = Buffer.from('0087654321', 'hex');
  expect(certificateId({ authorityKeyIdentifier, serialNumber })).toBe(ID);
});

test('what is no certificate has no id', async () => {
  const csr = csrDer((await makeCsr({ names: ['a.example'] })).pem);
  for (const bytes of [new Uint8Array(), csr]) {
    expect(() => certificateId(bytes)).toThrow(
      expect.objectContaining({ code: 'ERR_ACME_CERTIFICATE' }),
    );
  }
});

describe('renewal information', () => {
  const WINDOW = { start: '2026-12-22T14:03:15.175Z', end: '2026-12-24T14:03:15Z' };

  test('is a plain GET, with the window, the page that explains it, and when to ask again', async () => {
    const ca = await rawCa();
    const explanationURL = 'https://ca.example/why';
    ca.on[`/renewal-info/${ID}`] = json({ suggestedWindow: WINDOW, explanationURL }, 200, {
      'retry-after': '21600',
    });
    expect(await getRenewalInfo(ca.server(), ID)).toEqual({
      value: {
        suggestedWindow: { ...WINDOW, end: '2026-12-24T14:03:15.000Z' },
        explanationURL,
      },
      retryAfterMs: 21_600_000,
    });
    expect(ca.seen.at(-1)).toMatchObject({ method: 'GET', body: '' });
  });

  test('whose window does not end after it starts is no answer (RFC 9773 §4.2)', async () => {
    const ca = await rawCa();
    const server = ca.server();
    const { start, end } = WINDOW;
    for (const suggestedWindow of [
      { start: end, end: start },
      { start, end: start },
      { start },
      7,
    ]) {
      ca.on[`/renewal-info/${ID}`] = json({ suggestedWindow });
      await expect(getRenewalInfo(server, ID)).rejects.toMatchObject({
        code: 'ERR_ACME_BAD_ANSWER',
      });
    }
  });

  test('is not asked with an id that would lead elsewhere', async () => {
    const ca = await rawCa();
    await expect(getRenewalInfo(ca.server(), '../x.y')).rejects.toMatchObject({
      code: 'ERR_ACME_CERTIFICATE',
    });
    expect(ca.seen).toEqual([]);
  });

  test('where the directory has none is told apart from an outage', async () => {
    const ca = await rawCa();
    ca.on['/dir'] = json({
      newNonce: `${ca.url}/n`,
      newAccount: `${ca.url}/a`,
      newOrder: `${ca.url}/o`,
    });
    await expect(getRenewalInfo(ca.server(), ID)).rejects.toMatchObject({
      code: 'ERR_ACME_UNSUPPORTED',
    });
  });
});
