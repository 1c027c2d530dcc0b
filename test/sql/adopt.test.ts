import type postgres from 'postgres';
import { beforeAll, expect, test } from 'vitest';
import { type ForeignCertificate, foreignCertificates } from '../helpers/foreign-certificates.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';

let database: FreshDatabase;
let foreign: ForeignCertificate;

beforeAll(async () => {
  database = await freshDatabase();
  const [one] = await foreignCertificates(['shop.example.org']);
  if (one === undefined) throw new Error('none was made');
  foreign = one;
  await database.sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await database.sql`insert into acme.account (name, server) values ('main', 'ca')`;
});

test('only acme_admin adopts: an application cannot vouch for a certificate', async () => {
  for (const role of ['acme_app', 'acme_reader', 'acme_responder', 'acme_worker']) {
    const sql = await database.as(role);
    await expect(
      sql`select acme.adopt(${foreign.csrPem}, ${foreign.chainPem})`,
      role,
    ).rejects.toMatchObject({ code: '42501' });
    await expect(
      sql`insert into acme.csr (pem, chain_pem) values (${foreign.csrPem}, ${foreign.chainPem})`,
      role,
    ).rejects.toMatchObject({ code: '42501' });
    await expect(sql`select chain_pem from acme_private.adoption`, role).rejects.toMatchObject({
      code: '42501',
    });
  }
});

test('what is no chain is refused with a sentence, and a private key is not repeated', async () => {
  const { sql } = database;
  const key = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n';
  const cases: [string | null, RegExp][] = [
    ['', /holds no certificate|no certificate to adopt/],
    [null, /There is no certificate to adopt/],
    ['hello', /ref 'shop': The chain holds no certificate/],
    [foreign.chainPem + key, /The chain holds a private key/],
    [foreign.chainPem.repeat(200), /The chain has \d+ bytes; at most 131072/],
  ];
  for (const [chain, sentence] of cases) {
    const error = await sql`select acme.adopt(${foreign.csrPem}, ${chain}, 'shop')`.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: '22023' });
    const { message, detail, hint, where } = error as postgres.PostgresError;
    expect(message).toMatch(sentence);
    expect([message, detail, hint, where].join()).not.toContain('c2VjcmV0');
  }
  expect(await sql`select count(*)::int from acme_private.adoption`).toEqual([{ count: 0 }]);
});

test('the chain leaves the row on its way in, and goes with a deleted csr; a duplicate is returned', async () => {
  const { sql } = database;
  const adopt = () => sql<{ id: string; chain_pem: string | null; ref: string }[]>`
    select id, chain_pem, ref from acme.adopt(${foreign.csrPem}, ${foreign.chainPem}, 'shop', 'main')`;
  const [row] = await adopt();
  expect(row).toMatchObject({ chain_pem: null, ref: 'shop' });
  expect(await sql`select csr_id, chain_pem from acme_private.adoption`).toEqual([
    { csr_id: row?.id, chain_pem: foreign.chainPem },
  ]);
  expect(await adopt()).toEqual([row]);
  await expect(
    sql`select acme.adopt(${(await foreignCertificates(['x.example.org']))[0]?.csrPem ?? ''}, ${foreign.chainPem}, 'shop')`,
  ).rejects.toThrow(/The ref 'shop' already belongs to csr/);
  await expect(sql`update acme.csr set chain_pem = ${foreign.chainPem}`).rejects.toMatchObject({
    code: '23514',
  });
  await sql`delete from acme.csr`;
  expect(await sql`select count(*)::int from acme_private.adoption`).toEqual([{ count: 0 }]);
});
