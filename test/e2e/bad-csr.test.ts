import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { all, set, sha256 } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type Status } from '../helpers/world.ts';
import { altNames, dns, extension, oid, sequence, tlv } from '../x509/helpers/der-writer.ts';
import { rawCsr } from '../x509/helpers/raw-csr.ts';

const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits });
const named = (...names: (Buffer | string)[]): string =>
  rawCsr({ extensions: [altNames(...names.map(dns))] });

/** A CSR whose names were changed after it was signed. */
async function tampered(): Promise<string> {
  const { pem } = await makeCsr({ names: ['aaaa.example.org'] });
  const der = Buffer.from(pem.replace(/-----.*-----|\s/g, ''), 'base64');
  der.write('bbbb', der.indexOf('aaaa.example.org'));
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
}

const cases: Record<string, { pem: () => Promise<string> | string; code: string; text?: RegExp }> =
  {
    'a wrong signature': { pem: tampered, code: 'bad_signature' },
    'DER that is not a CSR': {
      pem: () =>
        `-----BEGIN CERTIFICATE REQUEST-----\n${sequence(tlv(2, Buffer.of(5))).toString('base64')}AAAA\n-----END CERTIFICATE REQUEST-----`.replace(
          /MAMCAQU=AAAA/,
          sequence(tlv(2, Buffer.of(5)), tlv(4, 'xx')).toString('base64'),
        ),
      code: 'not_a_csr',
    },
    'no SAN': {
      pem: async () => (await makeCsr({ names: [], commonName: freshName() })).pem,
      code: 'no_san',
    },
    'a CN that is not in the SAN': {
      pem: async () =>
        (await makeCsr({ names: [freshName()], commonName: 'other.example.org' })).pem,
      code: 'cn_not_in_san',
      text: /other\.example\.org/,
    },
    '101 names': {
      pem: async () =>
        (await makeCsr({ names: Array.from({ length: 101 }, () => freshName()) })).pem,
      code: 'too_many_names',
      text: /100/,
    },
    'a U-label': {
      pem: () => named(Buffer.from('bücher.example.org', 'utf8')),
      code: 'name_not_ascii',
      text: /xn--/,
    },
    'an IP address': {
      pem: () => rawCsr({ extensions: [altNames(tlv(0x87, Buffer.of(192, 0, 2, 1)))] }),
      code: 'ip_not_supported',
    },
    'a wildcard with only http-01': {
      pem: async () => (await makeCsr({ names: [`*.${freshName()}`] })).pem,
      code: 'no_solver',
      text: /wildcard/,
    },
    'RSA 1024': {
      pem: () =>
        rawCsr({
          keys: rsa(1024),
          algorithm: { id: '1.2.840.113549.1.1.11', hash: 'sha256' },
          extensions: [altNames(dns(freshName()))],
        }),
      code: 'key_type_refused',
      text: /RSA-1024/,
    },
    'P-521': {
      pem: async () => (await makeCsr({ names: [freshName()], algorithm: 'P-521' })).pem,
      code: 'key_type_refused',
      text: /P-521/,
    },
    Ed25519: {
      pem: () =>
        rawCsr({
          keys: generateKeyPairSync('ed25519'),
          algorithm: { id: '1.3.101.112', hash: null },
          extensions: [altNames(dns(freshName()))],
        }),
      code: 'key_type_refused',
      text: /Ed25519/,
    },
    'must-staple': {
      pem: () =>
        rawCsr({
          extensions: [
            altNames(dns(freshName())),
            extension('1.3.6.1.5.5.7.1.24', sequence(tlv(2, Buffer.of(5)))),
          ],
        }),
      code: 'must_staple',
    },
    'the clientAuth usage': {
      pem: () =>
        rawCsr({
          extensions: [
            altNames(dns(freshName())),
            extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.2'))),
          ],
        }),
      code: 'client_auth_eku',
    },
    'NUL in a name': {
      pem: () => named('good.example.org\0.evil.example.org'),
      code: 'name_invalid',
      text: /\\x00/,
    },
    'SQL in a name': {
      pem: () => named(`x'; drop table acme.csr; --.example.org`),
      code: 'name_invalid',
    },
    'HTML in a name': {
      pem: () => named('<script>alert(1)</script>.example.org'),
      code: 'name_invalid',
    },
    'ANSI escapes in a name': {
      pem: () => named('\x1b[31mred\x1b[0m.example.org'),
      code: 'name_invalid',
      text: /\\x1b\[31mred/,
    },
  };

test('each bad CSR is rejected with its reason, and a good one beside them is issued', async () => {
  const world = await faultyWorld();
  await world.sql`
    update acme.server set refused_csr_features = '{must_staple,client_auth_eku}' where name = 'ca'`;
  await world.worker();
  const ids = new Map<string, string>();
  for (const [name, { pem }] of Object.entries(cases)) {
    ids.set(name, await world.insert({ pem: await pem() }));
  }
  const good = await world.insert({ names: [freshName()] });
  await world.reach(good, 'issued');
  for (const [name, { code, text }] of Object.entries(cases)) {
    const row: Status = await world.reach(ids.get(name) ?? '', 'rejected');
    const codes = row.last_problem.reasons?.map((reason) => reason.code);
    expect(codes, name).toEqual([code]);
    expect(row.reason, name).toMatch(text ?? /\w/);

    expect(row.reason, name).not.toMatch(/[\u0000-\u001f\u007f]/);
    expect(row.next_attempt_at, name).toBeNull();
  }
  expect(world.ca.count('newOrder')).toBe(1);
});

test('all reasons are given at once, also those that only the database knows', async () => {
  const world = await faultyWorld();
  await world.worker();
  const taken = freshName();
  await world.reach(await world.insert({ names: [taken] }, { tenant: 'first' }), 'issued');
  const { pem } = await makeCsr({
    names: [taken, `*.${freshName()}`],
    commonName: 'elsewhere.example.org',
    algorithm: 'P-521',
  });
  const row = await world.reach(await world.insert({ pem }, { tenant: 'second' }), 'rejected');
  const codes = row.last_problem.reasons?.map(({ code }) => code) ?? [];
  expect([...codes].sort()).toEqual([
    'cn_not_in_san',
    'key_type_refused',
    'name_held',
    'no_solver',
  ]);
});

test("a CSR with the account's own key is rejected", async () => {
  const world = await faultyWorld();
  await world.worker();
  await until(async () => (await world.sql`select from acme_private.account_key`).length > 0, {
    what: 'the account has a key',
  });
  const key = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const spki = Buffer.from(await webcrypto.subtle.exportKey('spki', key.publicKey));
  // The account's private key is sealed; that it has this public key is what the check looks at.
  await set(world.sql, 'account_key', all, { spki_sha256: sha256(spki) });
  const id = await world.insert({ names: [freshName()], key });
  const row = await world.reach(id, 'rejected');
  expect(row.reason_code).toBe('account_key');
});

test('a key type that server.key_types allows is taken, and retry() judges anew', async () => {
  const world = await faultyWorld();
  await world.worker();
  const id = await world.insert({ names: [freshName()], algorithm: 'P-521' });
  await world.reach(id, 'rejected');
  await world.sql`update acme.server set key_types = key_types || '{P-521}' where name = 'ca'`;
  await world.sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
});

test('retries of a csr that stays rejected make one event, and another result makes its own', async () => {
  const world = await faultyWorld();
  const { sql } = world;
  await world.worker();
  const id = await world.insert({ names: [freshName()], algorithm: 'P-521' });
  await world.reach(id, 'rejected');
  const judgedAt = async () => {
    const [row] = await sql<[{ state: string; at: string }]>`
      select state, updated_at::text as at from acme.csr_status where id = ${id}`;
    return row.state === 'rejected' ? row.at : undefined;
  };
  const retry = async () => {
    const before = await judgedAt();
    await sql`select acme.retry(${id})`;
    await until(async () => ![before, undefined].includes(await judgedAt()), {
      what: 'it is judged again',
    });
  };
  for (let n = 0; n < 3; n++) await retry();
  expect(await world.events(id)).toEqual(['rejected', 'retry_asked']);
  await sql`update acme.server set key_types = '{RSA-4096}' where name = 'ca'`;
  for (let n = 0; n < 2; n++) await retry();
  expect(await world.events(id)).toEqual(['rejected', 'retry_asked', 'rejected', 'retry_asked']);
  await sql`update acme.server set key_types = '{P-521}' where name = 'ca'`;
  await sql`select acme.retry(${id})`;
  await world.reach(id, 'issued');
  expect((await world.events(id)).slice(4)).toEqual(
    expect.arrayContaining(['accepted', 'issued']) as string[],
  );
});
