import type postgres from 'postgres';
import { beforeEach, describe, expect, test } from 'vitest';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { age, all, frozenCopy } from '../helpers/state/index.ts';

interface Feature {
  support: string;
  value: unknown;
  how: string | null;
  source: string | null;
  as_of: string | null;
  contradicted_by: { support: string; how: string }[] | null;
}

let database: FreshDatabase;
let sql: postgres.Sql;
let worker: postgres.Sql;

beforeEach(async () => {
  database = await freshDatabase();
  ({ sql } = database);
  worker = await database.as('acme_worker');
  await addServer('ca', 'https://ca.example.org/dir');
});

async function addServer(name: string, url: string): Promise<void> {
  await sql`insert into acme.server (name, directory_url) values (${name}, ${url})`;
}

/** As a worker's login. */
async function store(how: string, facts: object[], server = 'ca'): Promise<void> {
  const [row] = await sql<[{ id: string }]>`select id from acme.server where name = ${server}`;
  await worker`
    select acme_private.server_facts_stored(null, ${row.id}, ${how}, ${worker.json(facts as never)})`;
}

async function feature(name: string, server = 'ca'): Promise<Feature | undefined> {
  const [row] = await sql<Feature[]>`
    select support, value, how, source, as_of::text, contradicted_by
      from acme.server_feature
     where server = ${server} and feature = ${name}`;
  return row;
}

const fact = (support: string, source: string, value?: unknown) => ({
  feature: 'renewal_info',
  support,
  source,
  ...(value === undefined ? {} : { value }),
});

/** As if this much time had passed since what is known so far. */
async function timePasses(interval: string): Promise<void> {
  await age(sql, 'server_fact', all, interval, 'at');
}

test('of a server that nobody has looked at everything is unknown, each feature once', async () => {
  const rows = await sql<{ feature: string; support: string; about: string }[]>`
    select feature, support, about from acme.server_feature where server = 'ca'`;
  expect(rows.length).toBeGreaterThan(30);
  expect(new Set(rows.map((row) => row.feature)).size).toBe(rows.length);
  expect(new Set(rows.map((row) => row.support))).toEqual(new Set(['unknown']));
  for (const { about } of rows) expect(about).toMatch(/\.$|value: .+\.$/);
});

test('what the server showed wins over what is documented, and of that the newest; the rest is not hidden', async () => {
  await addServer('zero', 'https://acme.zerossl.com/v2/DV90');
  expect(await feature('renewal_info', 'zero')).toMatchObject({ support: 'no', how: 'documented' });
  await store('directory', [fact('yes', 'the directory has renewalInfo')], 'zero');
  expect(await feature('renewal_info', 'zero')).toMatchObject({
    support: 'yes',
    how: 'directory',
    source: 'the directory has renewalInfo',
    contradicted_by: [{ support: 'no', how: 'documented' }],
  });
  await timePasses('2 days');
  await store('tried', [fact('no', 'it answered 500')], 'zero');
  expect(await feature('renewal_info', 'zero')).toMatchObject({
    support: 'no',
    how: 'tried',
    contradicted_by: [{ support: 'yes', how: 'directory' }],
  });
  await timePasses('2 days');
  await store('directory', [fact('yes', 'the directory has renewalInfo')], 'zero');
  expect(await feature('renewal_info', 'zero')).toMatchObject({ support: 'yes', how: 'directory' });
});

test('a value is that of the first who says more than yes, and agrees', async () => {
  await store('directory', [fact('yes', 'the directory', { where: 'there' })]);
  await timePasses('1 day');
  await store('seen', [fact('yes', 'an answer')]);
  expect(await feature('renewal_info')).toMatchObject({ how: 'seen', value: { where: 'there' } });
  await store('seen', [{ ...fact('yes', 'an answer'), value: null }]);
  await store('tried', [fact('no', 'tried', 'not there')]);
  expect(await feature('renewal_info')).toMatchObject({ support: 'no', value: 'not there' });
});

test('an address for keyChange proves nothing where it is documented that it does not work', async () => {
  await addServer('private', 'https://pki.example.org/acme/webservers/directory');
  const offered = { feature: 'key_change', support: 'yes', source: 'the directory has keyChange' };
  await store('directory', [offered], 'private');
  await store('directory', [offered]);
  expect(await feature('key_change', 'private')).toMatchObject({
    support: 'no',
    how: 'documented',
    contradicted_by: [{ support: 'yes', how: 'directory' }],
  });
  expect(await feature('key_change')).toMatchObject({ support: 'yes', how: 'directory' });
  await store('seen', [{ ...offered, source: 'a key that was replaced' }], 'private');
  expect(await feature('key_change', 'private')).toMatchObject({ support: 'yes', how: 'seen' });
});

test('a yes that was seen stands for a day against a no, what was read or tried does not', async () => {
  for (const how of ['seen', 'directory']) await store(how, [fact('yes', how)]);
  for (const how of ['seen', 'directory']) await store(how, [fact('no', how)]);
  const supports = () =>
    sql`select how, support from acme_private.server_fact order by how`.then((rows) => [...rows]);
  expect(await supports()).toEqual([
    { how: 'directory', support: 'no' },
    { how: 'seen', support: 'yes' },
  ]);
  await timePasses('25 hours');
  await store('seen', [fact('no', 'seen')]);
  expect(await supports()).toContainEqual({ how: 'seen', support: 'no' });
});

test('what is said twice at once is as it was said last', async () => {
  await store('tried', [fact('no', 'first'), fact('yes', 'second'), fact('yes', 'third')]);
  expect(await feature('renewal_info')).toMatchObject({ support: 'yes', source: 'third' });
});

test('what is no feature, and a value too long to keep, are dropped; the rest is kept', async () => {
  await store('directory', [
    { feature: 'free_beer', support: 'yes', source: 'the directory' },
    fact('yes', 'x'.repeat(5000), 'long '.repeat(10_000)),
  ]);
  const rows = await sql`select feature, value, length(source) from acme_private.server_fact`;
  expect([...rows]).toEqual([{ feature: 'renewal_info', value: null, length: 500 }]);
  // A server that is gone meanwhile is no error.
  await worker`select acme_private.server_facts_stored(null, 4711, 'seen', '[]')`;
});

describe('what is documented', () => {
  test('is found by the directory URL, and by no other', async () => {
    const cases = [
      ['https://acme-v02.api.letsencrypt.org/directory', 'dns-persist-01', 'no'],
      ['https://acme-staging-v02.api.letsencrypt.org/directory', 'dns-persist-01', 'yes'],
      ['https://acme-v02.api.letsencrypt.org/directory', 'ocsp', 'no'],
      ['https://acme-staging-v02.api.letsencrypt.org/directory', 'request_limits', 'yes'],
      ['https://acme.zerossl.com/v2/DV90', 'validation_retry', 'yes'],
      ['https://dv.acme-v02.api.pki.goog/directory', 'external_account_required', 'yes'],
      ['https://dv.acme-v02.test-api.pki.goog/directory', 'external_account_required', 'yes'],
      ['https://acme.ssl.com/sslcom-dv-ecc', 'wildcard', 'no'],
      ['https://acme.ssl.com/sslcom-dv-rsa', 'contact_required', 'yes'],
      ['https://acme-api.actalis.com/acme/directory', 'orders_list', 'yes'],
      ['https://acme-api.actalis.com/acme/directory', 'failed_challenge_ends', 'no'],
      ['https://api.buypass.com/acme/directory', 'in_service', 'no'],
      ['https://pki.example.org/acme/x/directory', 'ip_identifiers', 'yes'],
      // Not of step-ca's form.
      ['https://pki.example.org/acme/directory', 'ip_identifiers', 'unknown'],
      ['https://evil.example.org/acme-v02.api.letsencrypt.org/directory', 'http-01', 'unknown'],
    ] as const;
    const found: string[][] = [];
    for (const [n, [url, name]] of cases.entries()) {
      await addServer(`it-${String(n)}`, url);
      found.push([url, name, (await feature(name, `it-${String(n)}`))?.support ?? 'none']);
    }
    expect(found).toEqual(cases);
  });

  test("of Let's Encrypt, what can be hit, raised and spared, and what a CSR cannot ask for", async () => {
    await addServer('le', 'https://acme-v02.api.letsencrypt.org/directory');
    const rows = await sql<{ feature: string; said: string }[]>`
      select feature, concat_ws(' ', support, value) as said from acme.server_feature where server = 'le'`;
    const said = Object.fromEntries(rows.map((row) => [row.feature, row.said]));
    expect(said['paused_names']).toMatch(/^yes .*1152 failed authorizations in a row/);
    expect(said['request_limits']).toMatch(/^yes .*"new orders": "300/);
    expect(said['raised_limits']).toMatch(/^yes .*new orders.*certificates of a registered domain/);
    expect(said['renewal_exemptions']).toMatch(/^yes .*replaces/);
    expect(said['common_name']).toMatch(/^yes .*"tlsserver": "no"/);
    for (const feature of ['must_staple', 'client_auth', 'ocsp']) {
      expect(said[feature]).toMatch(/^no/);
    }
  });

  test('each fact names a feature, a source on the web and a date, once for each server', async () => {
    const facts = await sql<{ directory: string; feature: string; source: string; day: string }[]>`
      select directory, feature, source, as_of::text as day from acme_private.documented_feature`;
    const features = (await sql`select feature from acme_private.feature`).map((row) =>
      String(row['feature']),
    );
    for (const row of facts) {
      expect(features, row.feature).toContain(row.feature);
      expect(row.source).toMatch(/^https:\/\/[a-z0-9.-]+\/\S+( \(.+\))?$/);
      expect(row.day).toMatch(/^20\d\d-\d\d-\d\d$/);
    }
    const keys = facts.map((row) => `${row.directory} ${row.feature}`);
    expect(new Set(keys).size).toBe(keys.length);
    // Every fact of the file came through its joins.
    expect(facts.length).toBeGreaterThan(120);
  });
});

test('applications, readers and administrators read it, tenants the same; only workers store', async () => {
  await store('directory', [fact('yes', 'the directory')]);
  const all = await sql`select * from acme.server_feature`;
  for (const [role, login] of [
    ['acme_app', 'one'],
    ['acme_app', 'other'],
    ['acme_reader', 'reader'],
    ['acme_admin', 'admin'],
  ] as const) {
    const as = await database.as(role, { login });
    expect([...(await as`select * from acme.server_feature`)]).toEqual([...all]);
    await expect(
      as`select acme_private.server_facts_stored(null, 1, 'seen', '[]')`,
    ).rejects.toMatchObject({ code: '42501' });
    await expect(as`select acme_private.server_to_probe('ca')`).rejects.toMatchObject({
      code: '42501',
    });
  }
});

test('servers with an account are asked for their directory each 15 minutes, none on a copy', async () => {
  const names = async (): Promise<string[]> => {
    const [row] = await worker<[{ servers: { name: string }[] }]>`
      select acme_private.servers_to_look_at(null) as servers`;
    return row.servers.map(({ name }) => name);
  };
  expect(await names()).toEqual([]);
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  expect(await names()).toEqual(['ca']);
  // Work shows what a server can do, and not what its directory says.
  await store('seen', [fact('yes', 'seen')]);
  expect(await names()).toEqual(['ca']);
  const [ca] = await sql<[{ id: string }]>`select id from acme.server where name = 'ca'`;
  await worker`select acme_private.server_answered(${ca.id}, null)`;
  expect(await names()).toEqual([]);
  await age(sql, 'server_contact', all, '15 minutes', 'asked_at');
  expect(await names()).toEqual(['ca']);
  await frozenCopy(sql);
  expect(await names()).toEqual([]);
});

test.each(['letsencrypt', 'letsencrypt-staging'])(
  'of %s wildcards are documented by each proof in DNS that it has, and by no other',
  async (server) => {
    const proofs = ['dns-01', 'dns-account-01', 'dns-persist-01'];
    const offered = [];
    for (const proof of proofs) {
      if ((await feature(proof, server))?.support === 'yes') offered.push(proof);
    }
    expect((await feature('wildcard', server))?.value).toBe(`by ${offered.join(' or ')}`);
  },
);
