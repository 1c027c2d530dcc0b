import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { all, NEVER, set } from '../helpers/state/index.ts';

let shop: Shop;
let admin: postgres.Sql;

beforeEach(async () => {
  shop = await openShop();
  admin = await shop.database.as('acme_admin');
});

const queries = () => [admin, shop.sql];

describe('a server', () => {
  test('after migration there are those of Let’s Encrypt, and a responder for every name', async () => {
    const servers = await admin<
      { name: string }[]
    >`select name from acme.server where name <> 'ca' order by name`;
    expect(servers.map(({ name }) => name)).toEqual(['letsencrypt', 'letsencrypt-staging']);
    const solvers = await admin`select name, challenge_type, method, names from acme.solver`;
    expect(solvers).toEqual([
      { name: 'http-01', challenge_type: 'http-01', method: 'responder', names: ['*'] },
    ]);
  });

  test('keeps its directory_url once it has an account, also against a superuser', async () => {
    for (const sql of queries()) {
      const error = await refusal(
        sql`update acme.server set directory_url = 'https://other.example.org/dir' where name = 'ca'`,
      );
      expect(error.message).toBe(
        'The directory_url of server ca cannot change: it has accounts, and their keys must not go elsewhere.',
      );
      expect(error.hint).toBe('Insert a new server with the other URL.');
    }
    await admin`update acme.server set directory_url = 'https://moved.example.org/dir' where name = 'letsencrypt'`;
    await admin`update acme.server set max_names = 7, ca_bundle = null where name = 'ca'`;
    // Without its account it is free again.
    await admin`delete from acme.account`;
    await admin`update acme.server set directory_url = 'https://other.example.org/dir' where name = 'ca'`;
  });

  test('counts its changes, so that workers forget what they remembered of it', async () => {
    const version = () =>
      admin<{ version: string }[]>`select version from acme.server where name = 'ca'`;
    expect(await version()).toEqual([{ version: '1' }]);
    await admin`update acme.server set key_types = '{P-256}' where name = 'ca'`;
    await admin`update acme.server set key_types = '{P-256}' where name = 'ca'`;
    expect(await version()).toEqual([{ version: '2' }]);
  });

  test('refuses what its CA is known to refuse, unless it is said', async () => {
    const known: Record<string, [string[], boolean]> = {
      'https://acme-v02.api.letsencrypt.org/directory': [['must_staple'], true],
      'https://acme-staging-v02.api.letsencrypt.org/directory': [['must_staple'], true],
      'https://DV.acme-v02.api.pki.goog/directory': [['client_auth_eku'], false],
      'https://dv.acme-v02.test-api.pki.goog/directory': [['client_auth_eku'], false],
      'https://acme.zerossl.com/v2/DV90': [[], false],
      'https://ca.example.org/acme-v02.api.letsencrypt.org': [[], false],
    };
    for (const [url, [refuses, blocks]] of Object.entries(known)) {
      expect(
        await admin`
          insert into acme.server (name, directory_url) values ('known', ${url})
          returning refused_csr_features as refuses, blocks_revoked_keys as blocks`,
        url,
      ).toEqual([{ refuses, blocks }]);
      await admin`delete from acme.server where name = 'known'`;
    }
    expect(
      await admin`
        insert into acme.server (name, directory_url, refused_csr_features, blocks_revoked_keys)
        values ('known', 'https://acme-v02.api.letsencrypt.org/dir', '{}', false)
        returning refused_csr_features as refuses, blocks_revoked_keys as blocks`,
    ).toEqual([{ refuses: [], blocks: false }]);
    expect(
      await admin`
        select distinct refused_csr_features as refuses, blocks_revoked_keys as blocks
          from acme.server where name like 'letsencrypt%'`,
    ).toEqual([{ refuses: ['must_staple'], blocks: true }]);
    const error = await refusal(
      admin`update acme.server set refused_csr_features = '{ocsp}' where name = 'known'`,
    );
    expect(error.constraint_name).toBe('server_refused_csr_features_are_known');
  });

  test('may be renamed; its accounts follow', async () => {
    await admin`update acme.server set name = 'internal' where name = 'ca'`;
    expect(await admin`select server from acme.account`).toEqual([{ server: 'internal' }]);
  });

  test.each([
    ['http://ca.example.org/dir', 'server_directory_url_is_https'],
    ['https://user@ca.example.org/dir', 'server_directory_url_is_https'],
    ['https://ca.example.org/dir#x', 'server_directory_url_is_https'],
    ['https:///dir', 'server_directory_url_is_https'],
  ])('with the directory_url %s is refused', async (url, constraint) => {
    const error = await refusal(
      admin`insert into acme.server (name, directory_url) values ('x', ${url})`,
    );
    expect(error.constraint_name).toBe(constraint);
  });

  test('takes no private key as its ca_bundle', async () => {
    const bundle = '-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----';
    const error = await refusal(
      admin`update acme.server set ca_bundle = ${bundle} where name = 'ca'`,
    );
    expect(error.constraint_name).toBe('server_ca_bundle_is_pem');
  });
});

describe('an account', () => {
  test('wakes a worker to register it when it is inserted, without a key', async () => {
    await admin`insert into acme.account (name, server) values ('second', 'ca')`;
    expect(await shop.jobs()).toMatchObject([
      { task: 'register', key: null, payload: { kind: 'account' } },
      { task: 'dispatch', key: null },
    ]);
    expect(await admin`select state from acme.account_status where name = 'second'`).toEqual([
      { state: 'new' },
    ]);
  });

  test('cannot be renamed, also by a superuser', async () => {
    expect(await refusal(shop.sql`update acme.account set name = 'other'`)).toMatchObject({
      message: 'The account main cannot be renamed: its key is sealed for this name.',
    });
  });

  test('cannot move to another server, also by a superuser', async () => {
    expect(await refusal(shop.sql`update acme.account set server = 'letsencrypt'`)).toMatchObject({
      message:
        'The account main cannot move to another server: an account lives where it was registered.',
    });
  });

  test('of an unknown server is refused by an error that names it', async () => {
    expect(
      await refusal(admin`insert into acme.account (name, server) values ('x', 'nowhere')`),
    ).toMatchObject({
      code: '23503',
      constraint_name: 'account_server_fkey',
      message: 'There is no server nowhere.',
      hint: 'Insert it into acme.server first, or name one that is there.',
    });
  });

  test('wakes a worker again when a person agreed to the terms', async () => {
    await set(shop.sql, 'account', all, {
      next_attempt_at: NEVER,
      reason_code: 'user_action_required',
    });
    await admin`update acme.account set terms_agreed = true`;
    expect((await shop.jobs()).map(({ task }) => task)).toContain('register');
    expect(await admin`select next_attempt_at from acme.account_status`).toEqual([
      { next_attempt_at: null },
    ]);
  });
});

describe('the default account', () => {
  const defaults = () =>
    admin<{ name: string }[]>`select name from acme.account where is_default order by name`;

  test('is the first one inserted; a later one is not', async () => {
    await admin`insert into acme.account (name, server) values ('second', 'ca')`;
    expect(await defaults()).toEqual([{ name: 'main' }]);
  });

  test('is the first also when several are inserted at once', async () => {
    await admin`delete from acme.account`;
    await admin`insert into acme.account (name, server) values ('a', 'ca'), ('b', 'ca')`;
    expect(await defaults()).toEqual([{ name: 'a' }]);
  });

  test('moves to whichever is given that part, by INSERT or by UPDATE', async () => {
    await admin`insert into acme.account (name, server, is_default) values ('second', 'ca', true)`;
    expect(await defaults()).toEqual([{ name: 'second' }]);
    await admin`update acme.account set is_default = true where name = 'main'`;
    expect(await defaults()).toEqual([{ name: 'main' }]);
  });

  test('may be none: csrs that name no account then say what to do, and go on when there is one', async () => {
    await admin`update acme.account set is_default = false`;
    const id = await shop.insert();
    expect(await shop.status(id)).toMatchObject({
      state: 'received',
      reason_code: 'no_account',
      reason: expect.stringContaining('Insert one into acme.account') as unknown,
    });
    await shop.clearJobs();
    await admin`update acme.account set is_default = true`;
    expect((await shop.jobs()).map(({ task }) => task)).toEqual(['dispatch']);
    expect(await shop.status(id)).toMatchObject({ reason_code: 'waiting_for_worker' });
  });
});

describe('what the rows of administrators refer to, and what refers to them', () => {
  /** The unique constraints, unique indexes and foreign keys of what administrators write. */
  const constraints = async () => {
    const rows = await shop.sql<{ name: string; kind: string }[]>`
      with written as (
        select c.oid from pg_class c
         where c.relnamespace = 'acme'::regnamespace and c.relkind = 'r' and c.relname <> 'csr'
           and (has_any_column_privilege('acme_admin', c.oid, 'insert') or has_table_privilege('acme_admin', c.oid, 'delete'))
           and not has_any_column_privilege('acme_app', c.oid, 'insert')
      )
      select k.conname as name, case k.contype when 'f' then 'reference' else 'unique' end as kind
        from pg_constraint k
       where k.contype = 'f' and (k.conrelid in (select oid from written) or k.confrelid in (select oid from written)
                                                                         and k.confdeltype not in ('c', 'n'))
          -- ids are given by the database
          or k.contype in ('p', 'u') and k.conrelid in (select oid from written)
             and not (k.contype = 'p' and exists (
               select from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any (k.conkey) and a.attidentity = 'a'))
       order by k.conname`;
    return rows;
  };

  interface Case {
    /** What else is there. */
    before?: string;
    refused: string;
    message: string | RegExp;
    hint?: RegExp;
  }

  /** A reference is told in a sentence; a name that is taken, too, where a row gets another one. */
  const references: Record<string, Case[]> = {
    account_server_fkey: [
      {
        refused: `insert into acme.account (name, server) values ('x', 'nosuch')`,
        message: 'There is no server nosuch.',
      },
      {
        refused: `delete from acme.server where name = 'ca'`,
        message: 'The server ca has an account (main) and cannot be deleted.',
        hint: /acme\.pause/,
      },
      {
        before: `insert into acme.account (name, server) select 'more-' || n, 'ca' from generate_series(1, 7) n`,
        refused: `delete from acme.server where name = 'ca'`,
        message:
          'The server ca has 8 accounts (main, more-1, more-2, more-3, more-4, …) and cannot be deleted.',
      },
    ],
    account_state_server_id_fkey: [
      { refused: `delete from acme.server where name = 'ca'`, message: /has an account/ },
    ],
    account_domain_account_fkey: [
      {
        refused: `insert into acme.account_domain (server, domain, account) values ('ca', 'example.org', 'nosuch')`,
        message: 'There is no account nosuch at server ca.',
      },
      {
        refused: `insert into acme.account_domain (server, domain, account) values ('letsencrypt', 'example.org', 'main')`,
        message: 'There is no account main at server letsencrypt.',
      },
    ],
    csr_account_fkey: [
      {
        before: `insert into acme.csr (pem, account) values ('PEM', 'main')`,
        refused: `delete from acme.account where name = 'main'`,
        message: 'The account main has csrs or orders and cannot be deleted.',
        hint: /acme\.pause/,
      },
    ],
    csr_solver_fkey: [
      {
        before: `insert into acme.csr (pem, solver) values ('PEM', 'http-01')`,
        refused: `delete from acme.solver where name = 'http-01'`,
        message:
          /^The solver http-01 is named by csrs, csr \d+ among them, and cannot be deleted\.$/,
        hint: /where solver = 'http-01'/,
      },
    ],
  };
  const taken: Record<string, Case> = {
    server_name_key: {
      refused: `update acme.server set name = 'letsencrypt' where name = 'ca'`,
      message: 'There is a server letsencrypt already.',
    },
    solver_name_key: {
      before: `insert into acme.solver (name) values ('other')`,
      refused: `update acme.solver set name = 'http-01' where name = 'other'`,
      message: 'There is a solver http-01 already.',
    },
  };
  /** Whose columns nobody may change, so that only an insert meets them: it may be about to become an update (on conflict). */
  const inserted: Record<string, string> = {
    account_name_key: `insert into acme.account (name, server) values ('main', 'ca')`,
    account_name_server_key: `insert into acme.account (name, server) values ('main', 'ca')`,
    account_domain_pkey: `insert into acme.account_domain (server, domain, account) values ('ca', 'example.org', 'main')`,
    tenant_role_pkey: `insert into acme.tenant_role (role, tenant) values ('acme_reader', 't')`,
  };

  test('each has a case here', async () => {
    const all = await constraints();
    expect(all.filter(({ kind }) => kind === 'reference').map(({ name }) => name)).toEqual(
      Object.keys(references).sort(),
    );
    expect(all.filter(({ kind }) => kind === 'unique').map(({ name }) => name)).toEqual(
      [...Object.keys(taken), ...Object.keys(inserted)].sort(),
    );
  });

  test.each([
    ...Object.entries(references).flatMap(([name, cases]) => cases.map((one) => [name, one])),
    ...Object.entries(taken),
  ] as [string, Case][])('%s is told in a sentence', async (_, one) => {
    const pem = pemShapedLikeCsr();
    if (one.before !== undefined) await shop.sql.unsafe(one.before.replace('PEM', pem));
    const error = await refusal(admin.unsafe(one.refused));
    if (typeof one.message === 'string') expect(error.message).toBe(one.message);
    else expect(error.message).toMatch(one.message);
    expect(error.hint ?? '').toMatch(one.hint ?? '');
    expect(error.code).toMatch(/^2350[35]$/);
  });

  test.each(Object.entries(inserted))(
    '%s: an insert that meets it names the key, and can become an update',
    async (name, statement) => {
      if (!name.startsWith('account_name')) await admin.unsafe(statement);
      const error = await refusal(admin.unsafe(statement));
      expect(error.code).toBe('23505');
      expect(error.detail).toMatch(/^Key \(.*\)=\(.*\) already exists\.$/);
      await admin.unsafe(`${statement} on conflict do nothing`);
    },
  );

  test('what nothing refers to is deleted', async () => {
    await admin`delete from acme.account where name = 'main'`;
    await admin`delete from acme.server where name = 'ca'`;
    await admin`delete from acme.solver where name = 'http-01'`;
  });
});
