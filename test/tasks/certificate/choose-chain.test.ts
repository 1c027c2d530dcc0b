import { expect, test } from 'vitest';
import { AcmeTrouble } from '../../../src/acme/index.ts';
import { chooseChain } from '../../../src/tasks/certificate/choose-chain.ts';
import { csrDer, makeCsr, verifyIssued } from '../../../src/x509/index.ts';
import { testCa } from '../../x509/helpers/chain.ts';

const names = ['www.example.org'];
const { pem: csrPem } = await makeCsr({ names });
const ca = await testCa('ec');
const leafPem = await ca.issue({ csrPem, names });
const withRoot = leafPem + ca.intermediate + ca.root;
const verify = (chainPem: string) =>
  verifyIssued({ chainPem, csrDer: csrDer(csrPem), identifiers: names });

/** Chooses among these alternates; what an alternate is by its URL, or what asking for it throws. */
const choose = (wanted: string, alternates: Record<string, string | Error>) =>
  chooseChain(
    { wanted, leafPem },
    { chainPem: leafPem + ca.intermediate, alternates: Object.keys(alternates) },
    verify,
    (url) => {
      const one = alternates[url];
      return typeof one === 'string'
        ? Promise.resolve({ chainPem: one, alternates: [] })
        : Promise.reject(one ?? new Error('there is no such alternate'));
    },
  );

test('an alternate of another certificate of the same CSR is no choice', async () => {
  const other = await testCa('ec');
  const elsewhere = await other.issue({ csrPem, names });
  const alternate = elsewhere + other.intermediate + other.root;
  expect(await verify(alternate)).toMatchObject({ ok: true });
  const { offered = [] } = (await choose('No such root', { '/1': alternate })) as {
    offered?: string[];
  };
  expect(offered).toHaveLength(1);
  expect(await choose('Test Root', { '/1': alternate })).toMatchObject({
    certificate: { leafPem },
  });
});

test('an alternate that cannot be fetched is passed over, and a fault of ours is not', async () => {
  const away = new AcmeTrouble('ERR_ACME_NETWORK', 'It is away.');
  expect(await choose('No such root', { '/1': away, '/2': withRoot })).toMatchObject({
    offered: [expect.any(String), expect.any(String)],
  });
  await expect(choose('No such root', { '/1': new TypeError('a bug') })).rejects.toThrow('a bug');
});
