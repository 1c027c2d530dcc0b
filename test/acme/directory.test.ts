import { expect, test } from 'vitest';
import { json, rawCa } from './helpers/raw-ca.ts';

test('a directory keeps what the protocol knows and drops what is broken or unknown', async () => {
  const ca = await rawCa();
  const needed = {
    newNonce: `${ca.url}/n`,
    newAccount: `${ca.url}/a`,
    newOrder: `${ca.url}/o`,
  };
  ca.on['/dir'] = json({
    ...needed,
    'rAnDoM-kEy': 'https://community.example/t/adding-random-entries',
    renewalInfo: `${ca.url}/ari`,
    keyChange: 7,
    meta: {
      termsOfService: 'data:text/plain,Do%20what%20thou%20wilt',
      website: 'https://ca.example\u0000',
      caaIdentities: ['ca.example', 1],
      externalAccountRequired: false,
      profiles: { classic: '90\u001b[1m days', 'a\u0000': 'x', tlsserver: 7 },
      other: {},
    },
  });
  expect(await ca.server().directory()).toEqual({
    ...needed,
    renewalInfo: `${ca.url}/ari`,
    meta: {
      termsOfService: 'data:text/plain,Do%20what%20thou%20wilt',
      caaIdentities: ['ca.example'],
      externalAccountRequired: false,
      profiles: { classic: '90[1m days', tlsserver: '' },
    },
  });
});

test('a directory without meta, as small servers have it, is fine', async () => {
  const ca = await rawCa();
  expect((await ca.server().directory()).meta).toEqual({});
});
