import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeCsr, makeTlsCertificate } from '../../src/x509/index.ts';
import { derOf, pemBlock, pemShapedLikeCsr, privateKeys } from '../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';

let database: FreshDatabase;
let app: postgres.Sql;
let pem: string;

beforeAll(async () => {
  database = await freshDatabase();
  app = await database.as('acme_app', { max: 4 });
  await database.sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await database.sql`insert into acme.account (name, server) values ('main', 'ca')`;
  ({ pem } = await makeCsr({ names: ['www.example.org'] }));
});

const freshPem = async () => (await makeCsr({ names: ['www.example.org'] })).pem;
const csrBlock = (der: Uint8Array) => pemBlock('CERTIFICATE REQUEST', der);

const insert = (text: string, ref: string | null = null, sql = app) =>
  sql<{ id: string }[]>`insert into acme.csr (pem, ref) values (${text}, ${ref}) returning id`;

async function problem(text: string | null): Promise<string | null> {
  const [row] = await app<
    [{ problem: string | null }]
  >`select acme.csr_problem(${text}) as problem`;
  return row.problem;
}

describe('a bad CSR is refused at INSERT with the sentence of csr_problem', () => {
  const bad: [string, () => string | Promise<string>, RegExp][] = [
    ['nothing', () => '', /^The CSR is empty\. Give a PEM block/],
    ['white space', () => ' \n ', /not a PEM certificate signing request/],
    ['garbage', () => 'hello, world', /not a PEM certificate signing request/],
    ['base64 without its lines', () => derOf(pem).toString('base64'), /not a PEM certificate/],
    ['another PEM block', () => pemBlock('PUBLIC KEY', derOf(pem)), /not a PEM certificate/],
    [
      'a certificate',
      async () => (await makeTlsCertificate({ names: ['a.example.org'] })).certPem,
      /^This is a certificate, not a certificate signing request\. Make a CSR/,
    ],
    [
      'two CSRs',
      async () => pem + (await freshPem()),
      /more than one PEM block. Insert one row for each/,
    ],
    [
      'a CSR and a certificate',
      async () => pem + (await makeTlsCertificate({ names: ['a.example.org'] })).certPem,
      /more than one PEM block/,
    ],
    [
      'over 64 KiB',
      () => `${pem}${' '.repeat(65_536)}`,
      /^The CSR has \d+ bytes; at most 65536 are taken/,
    ],
    [
      'a sign that is not base64',
      () => pem.replace(/\n(....)/, '\n$1*'),
      /not base64\. Copy it again/,
    ],
    [
      'base64 that ends within a group',
      () => pem.replace(/(.)=*\n-----END/, '\n-----END'),
      /not base64/,
    ],
    ['padding in the middle', () => pem.replace(/\n(....)/, '\n$1===='), /not base64/],
    ['no END line', () => pem.slice(0, pem.indexOf('-----END')), /cut off: its line -----END/],
    ['half an END line', () => pem.slice(0, -20), /cut off: its line -----END/],
    [
      'truncated DER',
      () => csrBlock(derOf(pem).subarray(0, -1)),
      /^The CSR is truncated or has something appended/,
    ],
    [
      'appended bytes',
      () => csrBlock(Buffer.concat([derOf(pem), Buffer.alloc(3)])),
      /something appended/,
    ],
    ['an empty block', () => csrBlock(Buffer.alloc(0)), /damaged|not a DER/],
    [
      'no DER SEQUENCE',
      () => csrBlock(Buffer.from('hello, world')),
      /not a DER certificate signing request/,
    ],
    ['an indefinite length', () => csrBlock(Buffer.from([0x30, 0x80, 1, 1, 0, 0])), /not a DER/],
    [
      'a length of four bytes',
      () => csrBlock(Buffer.from([0x30, 0x84, 255, 255, 255, 255])),
      /not a DER/,
    ],
  ];

  test.each(bad)('%s', async (_, make, sentence) => {
    const text = await make();
    const said = await problem(text);
    expect(said).toMatch(sentence);
    const error = await refusal(insert(text));
    expect(error).toMatchObject({
      code: '22023',
      message: said,
      hint: expect.stringContaining('csr_problem') as unknown,
    });
    expect((await refusal(app`select acme.request(${text})`)).message).toBe(said);
    // Among many rows, the ref tells which.
    expect((await refusal(insert(text, 'shop-7'))).message).toBe(`ref 'shop-7': ${said}`);
    // Many rows are checked in another way first; what is said is the same.
    const many = [...Array.from({ length: 30 }, () => pemShapedLikeCsr()), text];
    expect(
      await refusal(app`insert into acme.csr (pem) select unnest(${many}::text[])`),
    ).toMatchObject({ code: '22023', message: said });
  });

  test('null is refused, and csr_problem says what is missing', async () => {
    expect(await problem(null)).toMatch(/is empty/);
    expect(await refusal(app`insert into acme.csr (pem) values (null)`)).toMatchObject({
      code: '23502',
    });
  });

  test('one bad row among good ones refuses the statement, and nothing of it stays', async () => {
    const good = await freshPem();
    await refusal(app`insert into acme.csr (pem) select unnest(${[good, 'bad']}::text[])`);
    await expect(insert(good)).resolves.toHaveLength(1);
  });
});

describe('a private key is refused, and no part of it comes back', () => {
  test.each(Object.entries(privateKeys()))('%s', async (_, key) => {
    const secret = derOf(key.replace(/\n(Proc-Type|DEK-Info|\n).*$/gm, '')).toString('base64');
    const pieces = [...key.split('\n'), secret].filter(
      (line) => !line.startsWith('-----') && line.length >= 12,
    );
    expect(pieces.length).toBeGreaterThan(1);
    for (const text of [key, pem + key, key + pem, `secret:\r\n${key.replaceAll('\n', '\r\n')}`]) {
      const said = await problem(text);
      expect(said).toMatch(/^This holds a private key\. Private keys never belong here/);
      for (const error of [
        await refusal(insert(text)),
        await refusal(insert(text, 'my-ref')),
        await refusal(app`select acme.request(${text}, 'my-ref')`),
        await refusal(app`insert into acme.csr (pem, renewal) values (${text}, 'sometimes')`),
        await refusal(app`insert into acme.csr (pem, account) values (${text}, 'nobody')`),
        // Where no row-level security holds, PostgreSQL shows the row that breaks a check.
        await refusal(
          database.sql`insert into acme.csr (pem, renewal) values (${text}, 'sometimes')`,
        ),
      ]) {
        // All that the server sent; message, detail, where and the others.
        const fields = JSON.stringify({ ...error, message: error.message });
        expect(fields).toContain('severity');
        for (const piece of pieces) {
          expect(fields.includes(piece.slice(0, 12)), `${error.message} echoes ${piece}`).toBe(
            false,
          );
        }
      }
    }
  });
});

test('CRLF, text before the block, NEW CERTIFICATE REQUEST and white space are taken', async () => {
  const forms = [
    (text: string) => text.replaceAll('\n', '\r\n'),
    (text: string) => `Certificate Request:\n    Data:\n        Version: 1 (0x0)\n${text}`,
    (text: string) => text.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'),
    (text: string) => text.replaceAll('\n', '\n  '),
    (text: string) => `\n\n${text}\n\n`,
  ];
  for (const form of forms) {
    const text = form(await freshPem());
    expect(await problem(text)).toBeNull();
    await expect(insert(text)).resolves.toHaveLength(1);
  }
});

test('what many rows are checked by agrees with csr_problem, whatever one changes in a CSR', async () => {
  const signs = ['=', '-', '*', ' ', '\n', '\r', '\t', 'A', '-----', '', '==', '-----BEGIN '];
  const texts = Array.from({ length: 3000 }, (_, n) => {
    const good = pemShapedLikeCsr(n % 2 === 0 ? 200 + (n % 50) : 300 + (n % 50));
    // Small numbers change the ends, where the lines stand; others anything.
    const at = n % 3 === 0 ? good.length - (n % 45) : Math.floor(Math.random() * good.length);
    const cut = at + (n % 5 === 0 ? 0 : 1 + (n % 3));
    return n % 10 === 0
      ? good
      : good.slice(0, at) + (signs[n % signs.length] ?? '') + good.slice(cut);
  });
  const bad = await database.sql<{ pem: string }[]>`
    with given as (
      select pem, split_part(pem, '-----', 3) as body from unnest(${texts}::text[]) pem
    ), decodable as materialized (
      -- what decode refuses goes the careful way
      select * from given
       where body !~ '[^A-Za-z0-9+/= \n\r\t]'
         and regexp_replace(body, '[ \n\r\t]', '', 'g') ~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'
    ), checked as (
      select pem, acme.csr_problem(pem) as problem, decode(body, 'base64') as der,
             acme_private.is_plain_csr(pem, body, decode(body, 'base64')) as is_plain
        from decodable
    )
    select pem from checked
     where is_plain and (problem is not null or sha256(der) <> acme_private.csr_sha256(pem, null))
        or not is_plain and problem is null and pem ~ '^-----BEGIN CERT[^ ]*[ ]REQUEST-----\n[A-Za-z0-9+/\n]+=*\n-----END CERTIFICATE REQUEST-----\n$'`;
  expect(bad).toEqual([]);
});

test('many rows in every form that is taken are taken at once', async () => {
  const texts = Array.from({ length: 40 }, (_, n) => {
    const text = pemShapedLikeCsr();
    return n % 2 === 0 ? text : text.replaceAll('\n', '\r\n').replace('BEGIN C', 'BEGIN NEW C');
  });
  await app`insert into acme.csr (pem) select unnest(${texts}::text[])`;
  const [row] = await database.sql<[{ same: number }]>`
    select count(*)::int as same
      from acme.csr c
      join acme_private.csr_state s on s.csr_id = c.id
     where c.pem = any (${texts}) and s.der_sha256 = acme_private.csr_sha256(c.pem, null)`;
  expect(row.same).toBe(40);
});

test('one CSR in two forms of PEM is one CSR', async () => {
  const text = await freshPem();
  const [first] = await insert(text);
  const error = await refusal(
    insert(
      `text\r\n${text.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST').replaceAll('\n', '\r\n')}`,
    ),
  );
  expect(error.message).toBe(`This certificate signing request is already csr ${first?.id}.`);
});

test('insert … returning * gives an application its whole row', async () => {
  const text = await freshPem();
  const [row] =
    await app`insert into acme.csr (pem, ref, labels) values (${text}, 'whole', '{"shop": 7}') returning *`;
  const { role } = await database.login('acme_app');
  expect(row).toMatchObject({
    pem: text,
    ref: 'whole',
    tenant: role,
    renewal: 'reuse',
    version: '1',
    labels: { shop: 7 },
  });
});

test("an application's row points at its csr and is read with a join", async () => {
  const { role } = await database.login('acme_app');
  await database.sql`create schema shop authorization ${database.sql(role)}`;
  await app`create table shop.domain (name text primary key, csr bigint)`;
  await app.begin(async (tx) => {
    const [row] = await insert(await freshPem(), null, tx as unknown as postgres.Sql);
    await tx`insert into shop.domain values ('www.example.org', ${row?.id ?? null})`;
  });
  expect(await app`select name from shop.domain join acme.csr_status s on s.id = csr`).toHaveLength(
    1,
  );
});

test.each([
  ['account', { account: 'nobody' }],
  ['solver', { solver: 'nobody' }],
])('an unknown %s is refused by an error that names it', async (column, columns) => {
  const row = { pem: await freshPem(), ...columns };
  const error = await refusal(app`insert into acme.csr ${app(row)}`);
  expect(error).toMatchObject({
    code: '23503',
    constraint_name: `csr_${column}_fkey`,
    message: `There is no ${column} nobody.`,
  });
});
