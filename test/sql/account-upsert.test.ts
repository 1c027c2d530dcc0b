import { randomBytes } from 'node:crypto';
import type postgres from 'postgres';
import { beforeEach, expect, test } from 'vitest';
import { eabBinding } from '../../src/secrets/account-keys.ts';
import { seal, sealingKeys } from '../../src/secrets/seal.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';

let sql: postgres.Sql;
let admin: postgres.Sql;

beforeEach(async () => {
  const database = await freshDatabase();
  ({ sql } = database);
  admin = await database.as('acme_admin');
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
});

const keys = await sealingKeys(randomBytes(32).toString('base64'));

/** An HMAC key, sealed for an account at that server. */
function sealed(account: string): Promise<string> {
  const binding = eabBinding({ account, origin: 'https://ca.example.org' });
  return seal(keys, binding, randomBytes(32).toString('base64url'));
}

/** Every row of every table of ours that holds this text. */
async function whereIs(text: string): Promise<string[]> {
  const tables = await sql<{ name: string }[]>`
    select c.oid::regclass::text as name
      from pg_class c
     where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('acme', 'acme_private', 'acme_worker')`;
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await sql.unsafe(`select from ${name} t where strpos(t::text, $1) > 0`, [text]);
    found.push(...rows.map(() => name));
  }
  return found;
}

const row = () => admin<{ id: string; eab_kid: string | null; is_default: boolean }[]>`
  select id, eab_kid, eab_hmac, is_default from acme.account where name = 'main'`;

/** The binding that is stored, of whichever account. */
const binding = () => sql`select account_id, jwe from acme_private.account_eab`;

test('an account inserted a second time, on conflict do nothing, keeps its binding, and nothing of the other stays', async () => {
  const [first, second] = [await sealed('main'), await sealed('main')];
  const insert = (kid: string, jwe: string) => admin`
    insert into acme.account (name, server, eab_kid, eab_hmac)
    values ('main', 'ca', ${kid}, ${jwe})
    on conflict do nothing`;
  await insert('kid-1', first);
  const [before] = await row();
  expect(await insert('kid-2', second)).toHaveLength(0);
  expect(await row()).toEqual([before]);
  expect(before).toMatchObject({ eab_kid: 'kid-1', eab_hmac: null });
  expect(await binding()).toEqual([{ account_id: before?.id, jwe: first }]);
  expect(await whereIs(first)).toEqual(['acme_private.account_eab']);
  expect(await whereIs(second)).toEqual([]);
});

test('an account inserted a second time, on conflict do update, has the new binding, and nothing of the old stays', async () => {
  const [first, second] = [await sealed('main'), await sealed('main')];
  const upsert = (kid: string, jwe: string) => admin<{ id: string; eab_hmac: string | null }[]>`
    insert into acme.account (name, server, eab_kid, eab_hmac)
    values ('main', 'ca', ${kid}, ${jwe})
    on conflict (name) do update set eab_kid = excluded.eab_kid, eab_hmac = excluded.eab_hmac
    returning id, eab_hmac`;
  const [made] = await upsert('kid-1', first);
  expect(await upsert('kid-2', second)).toEqual([{ id: made?.id, eab_hmac: null }]);
  expect(await row()).toMatchObject([{ id: made?.id, eab_kid: 'kid-2', eab_hmac: null }]);
  expect(await binding()).toEqual([{ account_id: made?.id, jwe: second }]);
  expect(await whereIs(first)).toEqual([]);
  expect(await whereIs(second)).toEqual(['acme_private.account_eab']);
  // What the update brings is checked as ever: here a key that nobody sealed.
  const plain = randomBytes(32).toString('base64url');
  const error = await refusal(upsert('kid-3', plain));
  expect(error.message).toBe('The eab_hmac of account main is not sealed.');
  expect(JSON.stringify({ ...error, message: error.message, where: error.where })).not.toContain(
    plain,
  );
  expect(await binding()).toEqual([{ account_id: made?.id, jwe: second }]);
});

test('twice in one statement: the first stays', async () => {
  const [first, second] = [await sealed('main'), await sealed('main')];
  await admin`
    insert into acme.account (name, server, eab_kid, eab_hmac)
    values ('main', 'ca', 'kid-1', ${first}), ('main', 'ca', 'kid-2', ${second})
    on conflict do nothing`;
  const [stored] = await row();
  expect(stored).toMatchObject({ eab_kid: 'kid-1', eab_hmac: null });
  expect(await binding()).toEqual([{ account_id: stored?.id, jwe: first }]);
  expect(await whereIs(second)).toEqual([]);
});

test('the default account stays the default one, whatever an insert that did nothing said', async () => {
  await admin`insert into acme.account (name, server) values ('main', 'ca')`;
  for (const isDefault of [true, false, null]) {
    await admin`
      insert into acme.account (name, server, is_default) values ('main', 'ca', ${isDefault})
      on conflict do nothing`;
    expect(await row(), String(isDefault)).toMatchObject([{ is_default: true }]);
  }
  await admin`
    insert into acme.account (name, server, is_default) values ('main', 'ca', true)
    on conflict (name) do update set is_default = excluded.is_default`;
  expect(await row()).toMatchObject([{ is_default: true }]);
});
