import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { foreignCertificates } from '../helpers/foreign-certificates.ts';
import { pemShapedLikeCsr, privateKeys } from '../helpers/pem.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { putInState } from '../helpers/state/index.ts';

let shop: Shop;
/** No row-level security holds for it: PostgreSQL shows it the row that a constraint refuses. */
let sql: postgres.Sql;

beforeAll(async () => {
  shop = await openShop();
  ({ sql } = shop);
});

/** What the error says, all of it. */
const textOf = ({ message, detail = '', hint = '' }: postgres.PostgresError) =>
  [message, detail, hint].join('\n');

describe('what a csr cannot have is refused with a sentence, which does not repeat the CSR', () => {
  const long = (length: number) => 'x'.repeat(length);
  test.each<[Record<string, string>, string, string]>([
    [{ account: 'nosuch' }, 'csr_account_fkey', 'There is no account nosuch.'],
    [{ solver: 'nosuch' }, 'csr_solver_fkey', 'There is no solver nosuch.'],
    [{ ref: '' }, 'csr_ref_is_short', 'A ref has 1 to 500 characters, and this one 0.'],
    [{ ref: long(501) }, 'csr_ref_is_short', 'A ref has 1 to 500 characters, and this one 501.'],
    [
      { profile: '' },
      'csr_profile_is_short',
      'The name of a profile has 1 to 100 characters, and this one 0.',
    ],
    [
      { preferred_chain: long(301) },
      'csr_preferred_chain_is_short',
      'A preferred_chain has 1 to 300 characters, and this one 301.',
    ],
    [{ renewal: 'never' }, 'csr_renewal_is_known', "renewal is 'never'; it must be reuse or off."],
    [
      { labels: '[1]' },
      'csr_labels_is_object',
      'labels must be a JSON object, such as {"team": "shop"}.',
    ],
    [{ validity: '-1 day' }, 'csr_validity_is_positive', 'validity must be longer than nothing.'],
    [
      { validity: '1 day', validity_start: '2 days' },
      'csr_validity_ends_after_start',
      'validity must be longer than validity_start.',
    ],
  ])('%.60j', async (columns, constraint, sentence) => {
    const row = { pem: pemShapedLikeCsr(), ...columns };
    const names = Object.keys(row);
    // (labels as text: what is not JSON is none of ours)
    const values = Object.values(row);
    const list = names.map((name, at) => `$${at + 1}${name === 'labels' ? '::text::jsonb' : ''}`);
    for (const on of [sql, shop.app]) {
      const error = await refusal(
        on.unsafe(`insert into acme.csr (${names.join(', ')}) values (${list.join(', ')})`, values),
      );
      expect(error).toMatchObject({ message: sentence, constraint_name: constraint });
      expect(textOf(error)).not.toContain('BEGIN');
      expect(textOf(error)).not.toContain('Failing row');
    }
  });

  test('also where others of the transaction name one that there is', async () => {
    const error = await refusal(
      sql`insert into acme.csr (pem, account)
          values (${pemShapedLikeCsr()}, 'main'), (${pemShapedLikeCsr()}, 'main'), (${pemShapedLikeCsr()}, 'nosuch')`,
    );
    expect(error.message).toBe('There is no account nosuch.');
  });

  test('also where many come, or a row is changed, and by acme.request and acme.adopt', async () => {
    const sentence = 'There is no account nosuch.';
    const many = Array.from({ length: 30 }, () => pemShapedLikeCsr());
    expect(
      await refusal(
        sql`insert into acme.csr (pem, account) select unnest(${many}::text[]), 'nosuch'`,
      ),
    ).toMatchObject({ message: sentence, code: '23503' });
    const id = await shop.insert();
    const changed = await refusal(sql`update acme.csr set renewal = 'never' where id = ${id}`);
    expect(changed.message).toBe("renewal is 'never'; it must be reuse or off.");
    expect(
      (await refusal(sql`update acme.csr set account = 'nosuch' where id = ${id}`)).message,
    ).toBe(sentence);
    expect(
      (await refusal(shop.app`select acme.request(${pemShapedLikeCsr()}, account => 'nosuch')`))
        .message,
    ).toBe(sentence);
    const [one] = await foreignCertificates(['a.example.org']);
    expect(
      (
        await refusal(
          sql`select acme.adopt(${one?.csrPem ?? ''}, ${one?.chainPem ?? ''}, 'a', 'nosuch')`,
        )
      ).message,
    ).toBe(sentence);
  });
});

describe('an account', () => {
  test.each(['', 'Main', "o'brien", 'münchen', '"x"', 'a b', 'x'.repeat(254)])(
    'named %j is refused',
    async (name) => {
      const error = await refusal(
        sql`insert into acme.account (name, server) values (${name}, 'ca')`,
      );
      expect(error).toMatchObject({
        code: '23514',
        constraint_name: 'account_name_is_plain',
        message: `${JSON.stringify(name.slice(0, 100))} cannot be the name of an account: give one of lower-case letters, digits, dots, dashes and underscores, at most 253, that begins with a letter or a digit.`,
      });
      expect(error.detail).toBeUndefined();
    },
  );

  test('without a name, or with an eab_kid that is none, is refused', async () => {
    const make = (columns: Record<string, string>) =>
      refusal(sql`insert into acme.account ${sql({ name: 'x', server: 'ca', ...columns })}`);
    expect(await refusal(sql`insert into acme.account (server) values ('ca')`)).toMatchObject({
      message: expect.stringMatching(
        /^There is no name for an account: give one of lower-case/,
      ) as unknown,
    });
    for (const kid of ['', 'k'.repeat(501)]) {
      expect(await make({ eab_kid: kid })).toMatchObject({
        constraint_name: 'account_eab_kid_is_short',
        message: `The eab_kid of account x has ${kid.length} characters; a key identifier has 1 to 500. The CA gives it together with the key.`,
      });
    }
  });

  test('whose eab_hmac is not sealed is told the whole command that seals it', async () => {
    const error = await refusal(
      sql`insert into acme.account (name, server, eab_kid, eab_hmac) values ('e4', 'ca', 'kid', 'c2VjcmV0')`,
    );
    expect(error.hint).toMatch(
      /^pgacme seal --for account:e4 --server ca prints what belongs here\./,
    );
    expect(textOf(error)).not.toContain('c2VjcmV0');
  });

  test.each([
    ['{{mailto:a@example.org},{mailto:b@example.org}}', /^The contact of account main .* one list/],
    ['{javascript:alert(1)}', /no CA can reach anybody by it/],
    ['{JavaScript:alert(1)}', /no CA can reach anybody by it/],
    ['{"data:text/plain,hello"}', /no CA can reach anybody by it/],
    [`{mailto:${'a'.repeat(3000)}@example.org}`, /at most 254 characters/],
    [`{tel:${'1'.repeat(500)}}`, /at most 500 characters/],
  ])('with the contact %.60s is refused', async (contact, sentence) => {
    const error = await refusal(
      sql`update acme.account set contact = ${contact}::text::text[] where name = 'main'`,
    );
    expect(error.code).toBe('22023');
    expect(error.message).toMatch(sentence);
    expect(error.message.length).toBeLessThan(500);
  });

  test('has the contacts that a server may take', async () => {
    const address = `${'a'.repeat(64)}@${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(57)}.org`;
    expect(address).toHaveLength(254);
    for (const contact of [
      'tel:+1-201-555-0123',
      'https://example.org/contact',
      `mailto:${address}`,
    ]) {
      await sql`update acme.account set contact = ${[contact]} where name = 'main'`;
    }
    await sql`update acme.account set contact = '{}' where name = 'main'`;
  });
});

describe('a server', () => {
  const make = (columns: Record<string, string>) =>
    refusal(
      sql`insert into acme.server ${sql({ name: 'x', directory_url: 'https://x.example/dir', ...columns })}`,
    );

  test.each(['', 'CA', 'my ca', 'x'.repeat(64)])('named %j is refused', async (name) => {
    const error = await make({ name });
    expect(error).toMatchObject({
      code: '23514',
      constraint_name: 'server_name_is_plain',
      message: `${JSON.stringify(name)} cannot be the name of a server: give one of lower-case letters, digits, dots, dashes and underscores, at most 63, that begins with a letter or a digit.`,
    });
    expect(error.detail).toBeUndefined();
  });

  test('with an account_policy that there is not is refused', async () => {
    const sentence = "account_policy is 'nonsense'; it must be single or per_registered_domain.";
    expect(await make({ account_policy: 'nonsense' })).toMatchObject({
      constraint_name: 'server_account_policy_is_known',
      message: sentence,
    });
    expect(
      (await refusal(sql`update acme.server set account_policy = 'nonsense' where name = 'ca'`))
        .message,
    ).toBe(sentence);
  });
});

describe('what an administrator cannot write is said in a sentence', () => {
  test.each<[string, string, string]>([
    [
      `insert into acme.server (name, directory_url) values ('x', 'http://x.example/dir')`,
      'server_directory_url_is_https',
      'directory_url must be the https URL',
    ],
    [
      `insert into acme.server (name, directory_url, ca_bundle) values ('x', 'https://x.example/dir', 'x')`,
      'server_ca_bundle_is_pem',
      'ca_bundle must be certificates in PEM form',
    ],
    [
      `update acme.server set max_names = 0 where name = 'ca'`,
      'server_max_names_is_positive',
      'max_names must be 1 or more.',
    ],
    [
      `update acme.server set max_orders_in_flight = 0 where name = 'ca'`,
      'server_max_orders_in_flight_is_positive',
      'max_orders_in_flight must be 1 or more.',
    ],
    [
      `insert into acme.account (name, server) values ('x', 'nosuch')`,
      'account_server_fkey',
      'There is no server nosuch.',
    ],
    [
      `insert into acme.account (name, server, key_algorithm) values ('x', 'ca', 'EdDSA')`,
      'account_key_algorithm_is_known',
      "key_algorithm is 'EdDSA'; it must be ES256, ES384 or RS256.",
    ],
    [
      `insert into acme.solver (name, challenge_type) values ('x', 'tls-alpn-02')`,
      'solver_challenge_type_is_known',
      "challenge_type is 'tls-alpn-02'; it must be",
    ],
    [
      `insert into acme.solver (name, method) values ('x', 'magic')`,
      'solver_method_is_known',
      "method is 'magic'; it must be responder or manual.",
    ],
  ])('%.80s', async (statement, constraint, sentence) => {
    const error = await refusal(sql.unsafe(statement));
    expect(error.constraint_name).toBe(constraint);
    expect(error.message).toContain(sentence);
    expect(error.detail).toBeUndefined();
  });
});

describe('a csr', () => {
  test('keeps the pem that it was inserted with', async () => {
    const id = await shop.insert();
    const error = await refusal(
      sql`update acme.csr set pem = ${pemShapedLikeCsr()} where id = ${id}`,
    );
    expect(error.message).toBe(`The pem of csr ${id} cannot change: it is what the csr is.`);
    expect(error.hint).toMatch(/^Insert the other certificate signing request/);
  });

  test('whose text holds a private key is refused without a hint to send it again', async () => {
    for (const key of Object.values(privateKeys())) {
      const error = await refusal(shop.app`insert into acme.csr (pem) values (${key})`);
      expect(error.message).toMatch(/^This holds a private key\./);
      expect(error.hint).toBeUndefined();
    }
  });

  test.each(['rejected', 'failed'])('that is %s is cancelled by acme.cancel', async (state) => {
    const id = await shop.insert();
    await putInState(sql, id, state);
    await shop.app`select acme.cancel(${id})`;
    await shop.attend(id);
    expect(await shop.status(id)).toMatchObject({
      state: 'cancelled',
      reason_code: 'cancelled',
      has_pending_request: false,
    });
  });

  test('that nobody can order for is not waited for', async () => {
    await sql`update acme.account set is_default = false`;
    const id = await shop.insert();
    const [row] = await shop.app`select reason_code from acme.wait(${id}, '1 hour')`;
    expect(row).toEqual({ reason_code: 'no_account' });
    await sql`update acme.account set is_default = true`;
  }, 30_000);

  test('whose retry meets an open transaction has no event for each look at it', async () => {
    const { app } = shop;
    const pem = pemShapedLikeCsr();
    const id = await shop.insert({ pem });
    await putInState(sql, id, 'rejected');
    await app`select acme.retry(${id})`;
    const undo = new Error('undo');
    const open = app.begin(async (tx) => {
      await tx`insert into acme.csr (pem) values (${pem})`;
      for (let n = 0; n < 3; n++) await shop.attend(id);
      expect(await sql`select from acme.event where csr_id = ${id}`).toHaveLength(0);
      throw undo;
    });
    await expect(open).rejects.toBe(undo);
    await shop.attend(id);
    expect(await sql`select event from acme.event where csr_id = ${id}`).toEqual([
      { event: 'retry_asked' },
    ]);
  });
});
