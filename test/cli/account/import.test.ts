import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  changeKey,
  deactivateAccount,
  generateAccountKey,
  type KeyAlgorithm,
} from '../../../src/acme/index.ts';
import { run } from '../../../src/local/run.ts';
import { keyBinding } from '../../../src/secrets/account-keys.ts';
import { open, sealingKeys } from '../../../src/secrets/seal.ts';
import { client, type ClientName } from '../../account-file/helpers/clients.ts';
import { ecKey, folderOf } from '../../account-file/helpers/files.ts';
import { sealedAnew } from '../../account-file/helpers/sealed-anew.ts';
import { all, now, set } from '../../helpers/state/index.ts';
import { freshName } from '../../helpers/world.ts';
import { CLI, cliEnv, linesOf } from '../cli.ts';
import { exportOf, passphrase, registered, type Target, target } from './transfer.ts';

/** Imports, and expects a sentence and that nothing came into the database. */
async function refused(to: Target, args: string[], sentence: RegExp | string): Promise<string> {
  const before = await to.rows();
  const { code, stderr } = await to.run('account', 'import', ...args);
  expect({ code, stderr }).toMatchObject({ code: 1 });
  if (typeof sentence === 'string') expect(stderr).toContain(sentence);
  else expect(stderr).toMatch(sentence);
  expect(await to.rows()).toEqual(before);
  return stderr;
}

test('a key that was rolled over since is told from the live one, and nothing is imported', async () => {
  const to = await target();
  const account = await registered(to.pebble);
  const file = await exportOf(to, account);
  const pass = ['--passphrase-file', to.passphraseFile];
  const next = await generateAccountKey('ES384');
  await changeKey(account, next);
  await refused(
    to,
    [file, ...pass],
    /This key is not the live one: .* replaced by a key roll-over/,
  );
  const newer = await exportOf(to, { ...account, key: next, privateJwk: next.privateJwk });
  const { code, stderr } = await to.run(
    'account',
    'import',
    newer,
    ...pass,
    '--name',
    'taken-over',
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(
    await to.database
      .sql`select a.name, a.key_algorithm, s.state from acme.account a join acme.account_status s using (name)`,
  ).toEqual([
    { name: 'taken-over', key_algorithm: 'ES384' satisfies KeyAlgorithm, state: 'valid' },
  ]);
});

test('a deactivated account, one at another URL and one of another server are each a sentence', async () => {
  const to = await target();
  const pass = ['--passphrase-file', to.passphraseFile];
  const [account, other] = [await registered(to.pebble), await registered(to.pebble)];
  await refused(
    to,
    [await exportOf(to, account, { url: other.url }), ...pass],
    `The file says that the key is of account ${other.url}, but ${to.pebble.directoryUrl} has it for ${account.url}.`,
  );
  const elsewhere = await exportOf(to, account, { url: 'https://ca.example.net/acct/1' });
  await refused(to, [elsewhere, ...pass], 'https://ca.example.net/acct/1');
  const unknown = await generateAccountKey();
  const never = { ...account, key: unknown, privateJwk: unknown.privateJwk };
  await refused(
    to,
    [await exportOf(to, never, { url: 'https://ca.example.net/acct/1' }), ...pass],
    'is on another host: the file is of another server',
  );
  const gone = await exportOf(to, account);
  await deactivateAccount(account);
  const closed = await refused(to, [gone, ...pass], /deactivated/);
  expect(closed).toMatch(/[^.]\. Nothing was imported\.\n$/);
  await refused(
    to,
    [gone, ...pass, '--server', 'Ü x'],
    '"Ü x" cannot be the name of a server: give one of lower-case letters, digits, dots, dashes and underscores, of at most 63 characters, with --server.',
  );
});

test('what is there already is not imported again: the name, the key, a key that was replaced', async () => {
  const to = await target();
  const pass = ['--passphrase-file', to.passphraseFile];
  const account = await registered(to.pebble);
  const file = await exportOf(to, account);
  expect(await to.run('account', 'import', file, ...pass)).toMatchObject({ code: 0, stderr: '' });
  await refused(to, [file, ...pass], 'This key is here already, as account main.');
  const other = await exportOf(to, await registered(to.pebble));
  await refused(
    to,
    [other, ...pass],
    'There is an account main already. Give this one another name',
  );
  await refused(to, [other, ...pass, '--name', 'No Name'], /cannot be the name of an account/);
  // As a roll-over leaves it.
  await set(to.database.sql, 'account_key', all, {
    state: 'retired',
    jwe: null,
    retired_at: now(),
  });
  await refused(
    to,
    [file, ...pass, '--name', 'again'],
    /was replaced by a roll-over of account main/,
  );
});

test('the server is the one that the file names, and no other; what has to stay in DNS is told', async () => {
  const to = await target();
  const { sql } = to.database;
  const pass = ['--passphrase-file', to.passphraseFile];
  const records = ['CAA 0 issue "ca.example.org; accounturi=https://…"', 'example.org …'];
  const file = await exportOf(to, await registered(to.pebble), { records });
  await sql`insert into acme.server (name, directory_url) values ('pebble', 'https://ca.example.org/dir')`;
  await refused(to, [file, ...pass], 'Say with --server how the latter is to be called.');
  await refused(
    to,
    [file, ...pass, '--server', 'letsencrypt'],
    /is of the server at .*, and the server letsencrypt is at/,
  );
  const named = await to.run('account', 'import', file, ...pass, '--server', 'test');
  expect(named).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(named.stdout).slice(4)).toEqual([
    ...records.map((record) => `In DNS, to stay while this account issues: ${record}`),
    'Account main is there, and csrs can use it.',
  ]);
  expect(await sql`select server from acme.account`).toEqual([{ server: 'test' }]);
  const second = await exportOf(to, await registered(to.pebble), { name: 'second' });
  const known = await to.run('account', 'import', second, ...pass);
  expect(known).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(known.stdout)[1]).toBe(`Server test, ${to.pebble.directoryUrl}`);
});

test('a wrong passphrase, a changed file and a missing passphrase are sentences without a secret', async () => {
  const to = await target();
  const account = await registered(to.pebble);
  const file = await exportOf(to, account);
  await refused(
    to,
    [file],
    `${file} is an export of pgacme: give its passphrase with --passphrase-file.`,
  );
  const wrong = join(to.folder, 'wrong.txt');
  await writeFile(wrong, 'another passphrase');
  await refused(to, [file, '--passphrase-file', wrong], 'The passphrase does not open this file.');
  await writeFile(wrong, 'short');
  await refused(to, [file, '--passphrase-file', wrong], 'The passphrase does not open this file.');
  const changed = join(to.folder, 'changed.json');
  const text = await readFile(file, 'utf8');
  await writeFile(changed, text.replace(to.pebble.directoryUrl, 'https://ca.example.org/dir'));
  const said = await refused(
    to,
    [changed, '--passphrase-file', to.passphraseFile],
    'its directory_url is not the one that is sealed in it',
  );
  expect(said).not.toContain(account.privateJwk.d ?? '?');
  const cut = join(to.folder, 'cut.json');
  await writeFile(cut, text.slice(0, -20));
  await refused(
    to,
    [cut, '--passphrase-file', to.passphraseFile],
    'The file is not whole: it begins as an export of pgacme and does not end as one.',
  );
  await refused(to, [join(to.folder, 'absent')], 'cannot be read; check the path');
});

test('a pipe and stdin are read as one file, the passphrase too', async () => {
  const to = await target();
  const file = await exportOf(to, await registered(to.pebble));
  const key = join(to.folder, 'account.key');
  const { privateJwk } = await registered(to.pebble);
  await writeFile(key, JSON.stringify(privateJwk));
  const shell = (line: string, ...args: string[]) =>
    run('bash', ['-c', line, 'bash', process.execPath, CLI, ...args], {
      env: cliEnv({ DATABASE_URL: to.database.url, PGACME_SECRET_KEY: to.secretKey }),
    });
  const substituted = await shell(
    '"$1" "$2" account import <(cat "$3") --passphrase-file <(cat "$4")',
    file,
    to.passphraseFile,
  );
  expect(substituted).toMatchObject({ code: 0, stderr: '' });
  const piped = await shell(
    'cat "$3" | "$1" "$2" account import /dev/stdin --name piped --server pebble',
    key,
  );
  expect(piped).toMatchObject({ code: 0, stderr: '' });
  expect(linesOf(piped.stdout)[0]).toBe('Read a private key');
  const redirected = await shell(
    '"$1" "$2" account import /dev/stdin --name again --server pebble < "$3"',
    key,
  );
  expect(redirected).toMatchObject({ code: 1 });
  expect(redirected.stderr).toContain('This key is here already, as account piped.');
  const empty = await shell('"$1" "$2" account import <(true)');
  expect(empty).toMatchObject({ code: 1 });
  expect(empty.stderr).toMatch(/^\/dev\/fd\/\d+ holds no account that pgacme knows/);
});

test('what a file says reaches the terminal without control characters, and so does a name of a file', async () => {
  const to = await target();
  const file = await exportOf(to, await registered(to.pebble));
  const forged = join(to.folder, 'forged.json');
  const text = await readFile(file, 'utf8');
  await writeFile(
    forged,
    await sealedAnew(text, passphrase, (content) => {
      content.exported_at = '2026-01-01\u001b[2J\u001b[1;1HAccount main is there';
      content.records = ['\u001b[31mred'];
    }),
  );
  const said = await refused(to, [forged, '--passphrase-file', to.passphraseFile], 'invisible');
  expect(said.trim()).toMatch(/^[ -~]+$/);
  const { jwk } = ecKey();
  const many = await folderOf({
    'a\u001b[2J/private_key.json': jwk,
    'a\u001b[2J/regr.json': { body: {}, uri: 'https://ca.example.org/acct/7' },
    'b/private_key.json': jwk,
    'b/regr.json': { body: {}, uri: 'https://ca.example.org/acct/7' },
  });
  expect(await refused(to, [many], 'holds 2 accounts')).not.toContain('\u001b');
});

test('a key is stored in its one spelling, however the file has it', async () => {
  const to = await target();
  const account = await registered(to.pebble);
  const { d = '', ...publicJwk } = account.privateJwk;
  const spelt = { ...publicJwk, d: Buffer.from(d, 'base64url').toString('base64'), use: 'sig' };
  const file = await exportOf(to, { ...account, privateJwk: { ...spelt, y: `${publicJwk.y}=` } });
  const { code, stderr } = await to.run(
    ...['account', 'import', file, '--passphrase-file', to.passphraseFile],
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const [row] = await to.database.sql<[{ jwe: string }]>`select jwe from acme_private.account_key`;
  const { origin } = new URL(to.pebble.directoryUrl);
  const keys = await sealingKeys(to.secretKey);
  expect(await open(keys, keyBinding({ account: 'main', origin }), row.jwe)).toEqual(
    account.privateJwk,
  );
});

const clients: [ClientName, { needsServer: boolean }][] = [
  ['certbot', { needsServer: false }],
  ['lego', { needsServer: true }],
  ['dehydrated', { needsServer: false }],
];
test.for(clients)(
  'an account that %s made is taken over',
  { timeout: 120_000 },
  async ([name, { needsServer }], { skip }) => {
    const to = await target();
    const program = await client(name, to.pebble, join(to.folder, name));
    if (program === undefined) return skip(`${name} is not installed`);
    await program.register(freshName('taken-over'));
    const { sql } = to.database;
    await sql`
      insert into acme.server (name, directory_url, ca_bundle)
      values ('pebble', ${to.pebble.directoryUrl}, ${to.pebble.caPem})`;
    if (needsServer) {
      await refused(to, [program.folder], 'Name its row in acme.server with --server.');
    }
    await sql`update acme.server set ca_bundle = null where name = 'pebble'`;
    const options = needsServer ? ['--server', 'pebble'] : [];
    await refused(to, [program.folder, ...options], /pebble cannot be asked about the account/);
    await sql`update acme.server set ca_bundle = ${to.pebble.caPem} where name = 'pebble'`;
    const { code, stderr } = await to.run('account', 'import', program.folder, ...options);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(
      await sql`
        select s.name, s.state, a.contact, a.server, e.detail ->> 'client' as client
          from acme.account_status s
          join acme.account a using (name)
          join acme.event e on e.event = 'account_imported'`,
    ).toEqual([
      {
        name,
        state: 'valid',
        contact: ['mailto:ops@example.org'],
        server: 'pebble',
        client: name === 'lego' ? 'lego 4' : name,
      },
    ]);
  },
);
