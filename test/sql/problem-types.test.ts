import { expect, test } from 'vitest';
import { freshDatabase } from '../helpers/postgres.ts';

/** Types of RFC 8555 §6.7, RFC 9773 §7.4 and draft-ietf-acme-profiles §6 that are no words of English besides. */
const TYPES = [
  'urn:ietf:params:acme',
  'accountDoesNotExist',
  'alreadyReplaced',
  'alreadyRevoked',
  'badCSR',
  'badNonce',
  'badPublicKey',
  'badRevocationReason',
  'badSignatureAlgorithm',
  'externalAccountRequired',
  'incorrectResponse',
  'invalidContact',
  'invalidProfile',
  'malformed',
  'orderNotReady',
  'rateLimited',
  'rejectedIdentifier',
  'serverInternal',
  'unauthorized',
  'unsupportedContact',
  'unsupportedIdentifier',
  'userActionRequired',
];

test('no function and no view knows the problem types of ACME: steps say what an answer means', async () => {
  const { sql } = await freshDatabase();
  const schemas = ['acme', 'acme_private'];
  const found = await sql<{ object: string }[]>`
    select o.object
      from (select p.oid::regprocedure::text as object, pg_get_functiondef(p.oid) as text
              from pg_proc p
             where p.pronamespace::regnamespace::text = any (${schemas}) and p.prokind in ('f', 'p')
            union all
            select c.oid::regclass::text, pg_get_viewdef(c.oid)
              from pg_class c
             where c.relnamespace::regnamespace::text = any (${schemas}) and c.relkind = 'v') o
     where o.text ~* ${`\\m(${TYPES.join('|')})`}
     order by 1`;
  expect(found.map(({ object }) => object)).toEqual([]);
});
