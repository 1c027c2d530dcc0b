import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readForeignAccount } from '../../src/account-file/index.ts';
import { ecKey, folderOf } from './helpers/files.ts';

/** What reading says; it must fail. */
async function refusal(path: string): Promise<string> {
  const error = await readForeignAccount(path).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: 'ERR_ACCOUNT_FILE' });
  return (error as Error).message;
}

const { jwk, sec1, pkcs8, key } = ecKey();
const contact = ['mailto:ops@example.org'];

describe('files in the forms that clients document', () => {
  test('certbot: the directory URL stands in the path, whatever the files are called', async () => {
    const id = 'accounts/ca.example.org:14000/acme/dir/0123456789abcdef';
    const root = await folderOf({
      [`${id}/private_key.json`]: jwk,
      [`${id}/regr.json`]: { body: { contact }, uri: 'https://ca.example.org:14000/acct/7' },
      [`${id}/meta.json`]: { creation_dt: '2026-01-01T00:00:00Z', creation_host: 'host' },
    });
    const account = {
      client: 'certbot',
      directoryUrl: 'https://ca.example.org:14000/acme/dir',
      accountUrl: 'https://ca.example.org:14000/acct/7',
      contact,
      privateJwk: jwk,
      paths: [join(root, id, 'private_key.json'), join(root, id, 'regr.json')],
    };
    expect(await readForeignAccount(root)).toEqual(account);
    expect(await readForeignAccount(join(root, id))).toEqual(account);
    expect(await readForeignAccount(join(root, id, 'regr.json'))).toEqual(account);
    const moved = await folderOf({
      'a.txt': jwk,
      'b.txt': { body: {}, uri: 'https://ca.example.org:14000/acct/7' },
    });
    expect(await readForeignAccount(moved)).toMatchObject({
      client: 'certbot',
      directoryUrl: undefined,
      contact: [],
    });
  });

  test('a text that could forge what a terminal shows counts as not kept', async () => {
    const id = 'accounts/ca.example.org/acme/dir/0123456789abcdef';
    const root = await folderOf({
      [`${id}/private_key.json`]: jwk,
      [`${id}/regr.json`]: {
        body: { contact: ['mailto:\u001b[2J@example.org', ...contact] },
        uri: 'https://ca.example.org/\u001b]0;owned\u0007',
      },
    });
    expect(await readForeignAccount(root)).toMatchObject({
      client: 'certbot',
      accountUrl: undefined,
      contact,
    });
    const eab = await folderOf({
      'ca/ca.example.org/dir/account.key': sec1,
      'ca/ca.example.org/dir/ca.conf':
        "ACCOUNT_URL='https://ca.example.org/acct/7'\nCA_EAB_KEY_ID='k\u001b[31m'\nCA_EMAIL='a\u009b@b'",
    });
    const read = await readForeignAccount(eab);
    expect(read).toMatchObject({ client: 'acme.sh', contact: [] });
    expect(read).not.toHaveProperty('eabKid');
  });

  test('lego 4: the key lies in a folder below; the path of the directory is not kept', async () => {
    const id = 'accounts/ca.example.org_14000/ops@example.org';
    const root = await folderOf({
      [`${id}/account.json`]: {
        email: 'ops@example.org',
        registration: { body: { status: 'valid', contact }, uri: 'https://ca.example.org/acct/7' },
      },
      [`${id}/keys/ops@example.org.key`]: sec1,
    });
    const account = {
      client: 'lego 4',
      directoryUrl: undefined,
      accountUrl: 'https://ca.example.org/acct/7',
      contact,
      privateJwk: jwk,
    };
    expect(await readForeignAccount(root)).toMatchObject(account);
    const file = join(root, id, 'keys/ops@example.org.key');
    expect(await readForeignAccount(file)).toMatchObject(account);
    expect(await readForeignAccount(join(root, id, 'account.json'))).toMatchObject(account);
  });

  test('lego 5: one folder for each type of key, both forms of the registration', async () => {
    const id = 'accounts/acme-v02.api.letsencrypt.org/ops/EC256';
    const root = await folderOf({
      [`${id}/account.json`]: {
        id: 'ops',
        email: 'ops@example.org',
        keyType: 'EC256',
        registration: {
          body: { status: 'valid' },
          uri: 'https://acme-v02.api.letsencrypt.org/acme/acct/7',
        },
      },
      [`${id}/ops.key`]: pkcs8,
      [`${id}/ops.old.key`]: ecKey().sec1,
    });
    expect(await readForeignAccount(root)).toMatchObject({
      client: 'lego 5',
      directoryUrl: 'https://acme-v02.api.letsencrypt.org/directory',
      accountUrl: 'https://acme-v02.api.letsencrypt.org/acme/acct/7',
      contact,
      privateJwk: jwk,
    });
    const later = await folderOf({
      'account.json': {
        id: 'ops',
        email: '',
        keyType: 'EC256',
        registration: { status: 'valid', accountURL: 'https://ca.example.org/acct/7' },
      },
      'ops.key': pkcs8,
    });
    expect(await readForeignAccount(later)).toMatchObject({
      client: 'lego 5',
      accountUrl: 'https://ca.example.org/acct/7',
      contact: [],
    });
  });

  test('acme.sh: host and path from the folder, the port from the account URL', async () => {
    const id = 'ca/ca.example.org/acme/dir';
    const root = await folderOf({
      [`${id}/account.key`]: sec1,
      [`${id}/account.json`]: { status: 'valid', contact, key: {} },
      [`${id}/ca.conf`]:
        "CA_KEY_HASH='b6T0='\nACCOUNT_URL='https://ca.example.org:14000/acct/7'\nCA_EMAIL='ops@example.org'\nCA_EAB_KEY_ID='kid-1'\nCA_EAB_HMAC_KEY='c2VjcmV0'\n",
      'account.conf': "USER_PATH='/bin'\n",
      'www.example.org_ecc/www.example.org.key': ecKey().sec1,
      'www.example.org_ecc/www.example.org.conf': "Le_Domain='www.example.org'\n",
    });
    expect(await readForeignAccount(root)).toEqual({
      client: 'acme.sh',
      directoryUrl: 'https://ca.example.org:14000/acme/dir',
      accountUrl: 'https://ca.example.org:14000/acct/7',
      contact,
      eabKid: 'kid-1',
      privateJwk: jwk,
      paths: ['account.key', 'ca.conf', 'account.json'].map((file) => join(root, id, file)),
    });
    const old = await folderOf({
      [`${id}/account.key`]: sec1,
      [`${id}/ca.conf`]:
        'CA_KEY_HASH="quoted otherwise"\nCA_KEY_HASH=plain\nCA_EMAIL=ops@example.org\n',
    });
    expect(await readForeignAccount(old)).toMatchObject({
      directoryUrl: 'https://ca.example.org/acme/dir',
      accountUrl: undefined,
      contact,
    });
  });

  test('dehydrated: the folder is the directory URL in base64url', async () => {
    const id = `accounts/${Buffer.from('https://ca.example.org/dir\n').toString('base64url')}`;
    const root = await folderOf({
      [`${id}/account_key.pem`]: pkcs8,
      [`${id}/registration_info.json`]: { status: 'valid', contact },
      config: 'CA=https://ca.example.org/dir\n',
    });
    const account = { client: 'dehydrated', directoryUrl: 'https://ca.example.org/dir', contact };
    expect(await readForeignAccount(root)).toMatchObject({ ...account, accountUrl: undefined });
  });

  test('Caddy: the account URL in the file, the directory only where it is well known', async () => {
    const users = (ca: string) => `acme/${ca}/users/ops@example.org`;
    const of = async (ca: string, location: string) =>
      readForeignAccount(
        await folderOf({
          [`${users(ca)}/ops.json`]: { status: 'valid', contact, orders: '', location },
          [`${users(ca)}/ops.key`]: sec1,
        }),
      );
    expect(
      await of('ca.example.org-acme-local', 'https://ca.example.org/acme/acct/7'),
    ).toMatchObject({
      client: 'Caddy',
      directoryUrl: undefined,
      accountUrl: 'https://ca.example.org/acme/acct/7',
      contact,
      privateJwk: jwk,
    });
    expect(
      await of(
        'acme-staging-v02.api.letsencrypt.org-directory',
        'https://acme-staging-v02.api.letsencrypt.org/acme/acct/7',
      ),
    ).toMatchObject({ directoryUrl: 'https://acme-staging-v02.api.letsencrypt.org/directory' });
  });
});

test('a key alone is taken where the file is named, and never found in a folder', async () => {
  const root = await folderOf({ 'some.key': pkcs8, 'other.json': jwk });
  expect(await readForeignAccount(join(root, 'some.key'))).toMatchObject({
    client: 'a bare key',
    directoryUrl: undefined,
    accountUrl: undefined,
    privateJwk: jwk,
  });
  expect(await readForeignAccount(join(root, 'other.json'))).toMatchObject({ privateJwk: jwk });
  expect(await refusal(root)).toMatch(/holds no account that pgacme knows/);
});

test('several accounts, none, a locked key and a path that is not there are sentences', async () => {
  const root = await folderOf({
    'accounts/ca.example.org/dir/1/private_key.json': jwk,
    'accounts/ca.example.org/dir/1/regr.json': { body: {}, uri: 'https://ca.example.org/acct/1' },
    'accounts/ca.example.org/dir/2/private_key.json': ecKey().jwk,
    'accounts/ca.example.org/dir/2/regr.json': { body: {}, uri: 'https://ca.example.org/acct/2' },
    'locked.key': String(
      key.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }),
    ),
    'readme.txt': 'nothing',
  });
  const several = await refusal(root);
  expect(several).toMatch(/holds 2 accounts; name the key file of one of them:/);
  expect(several).toMatch(/certbot: .*dir\/1\/private_key\.json\n.*dir\/2\/private_key\.json/);
  const one = join(root, 'accounts/ca.example.org/dir/2/private_key.json');
  expect(await readForeignAccount(one)).toMatchObject({
    accountUrl: 'https://ca.example.org/acct/2',
  });
  expect(await refusal(join(root, 'locked.key'))).toMatch(/locked with a password/);
  expect(await refusal(join(root, 'readme.txt'))).toMatch(/holds no account/);
  expect(await refusal(join(root, 'absent'))).toMatch(/cannot be read; check the path/);
});
