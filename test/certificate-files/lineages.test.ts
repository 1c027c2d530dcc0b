import { chmod, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLineages } from '../../src/certificate-files/index.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { folderOf } from '../account-file/helpers/files.ts';
import { asAnyUser } from '../helpers/as-any-user.ts';
import { foreignCertificates, otherCa } from '../helpers/foreign-certificates.ts';

const KEY = '-----BEGIN PRIVATE KEY-----\nnever read\n-----END PRIVATE KEY-----\n';

async function made(name: string, times: { notBefore?: string; notAfter?: string } = {}) {
  const [one] = await foreignCertificates([name], times);
  if (one === undefined) throw new Error('none was made');
  const [leaf = ''] = one.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
  return { ...one, leaf };
}

test('acme.sh: the CSR beside the certificate, one folder for each kind of key', async () => {
  const [shop, ecc] = [await made('shop.example.org'), await made('shop.example.org')];
  const { intermediate } = await otherCa();
  const files = (folder: string, { csrPem, chainPem, leaf }: typeof shop) => ({
    [`${folder}/shop.example.org.cer`]: leaf,
    [`${folder}/fullchain.cer`]: chainPem,
    [`${folder}/ca.cer`]: intermediate,
    [`${folder}/shop.example.org.csr`]: csrPem,
    [`${folder}/shop.example.org.key`]: KEY,
    [`${folder}/shop.example.org.conf`]:
      "Le_Domain='shop.example.org'\nLe_API='https://ca.example.org/dir'\n",
  });
  const root = await folderOf({
    ...files('shop.example.org', shop),
    ...files('shop.example.org_ecc', ecc),
    'ca/ca.example.org/dir/account.key': KEY,
  });
  expect((await readLineages(root)).lineages).toEqual([
    {
      name: 'shop.example.org',
      path: join(root, 'shop.example.org/fullchain.cer'),
      names: ['shop.example.org'],
      notAfter: new Date('2051-02-21T04:05:06Z'),
      chainPem: shop.chainPem,
      csrPem: shop.csrPem,
      server: 'https://ca.example.org/dir',
    },
    expect.objectContaining({
      name: 'shop.example.org_ecc',
      chainPem: ecc.chainPem,
      csrPem: ecc.csrPem,
    }),
  ]);
});

test('certbot: what live points to, with the CSR of its key among those of earlier ones', async () => {
  const old = await made('shop.example.org', { notBefore: '2026-01-01T00:00:00Z' });
  const now = await made('shop.example.org');
  const root = await folderOf({
    'archive/shop/cert1.pem': old.leaf,
    'archive/shop/fullchain1.pem': old.chainPem,
    'archive/shop/privkey1.pem': KEY,
    'archive/shop/cert2.pem': now.leaf,
    'archive/shop/fullchain2.pem': now.chainPem,
    'csr/0000_csr-certbot.pem': old.csrPem,
    'csr/0001_csr-certbot.pem': now.csrPem,
    'renewal/shop.conf': '[renewalparams]\nserver = https://ca.example.org/dir\n',
    'live/README': 'a file',
  });
  const { lineages: archived } = await readLineages(join(root, 'archive'));
  expect(archived).toMatchObject([{ name: 'shop', chainPem: now.chainPem, csrPem: undefined }]);
  await mkdir(join(root, 'live/shop'));
  for (const [name, file] of [
    ['cert', 'cert2'],
    ['fullchain', 'fullchain2'],
    ['privkey', 'privkey1'],
  ]) {
    await symlink(
      join(root, `archive/shop/${String(file)}.pem`),
      join(root, `live/shop/${String(name)}.pem`),
    );
  }
  expect((await readLineages(root)).lineages).toMatchObject([
    {
      name: 'shop',
      path: join(root, 'live/shop/fullchain.pem'),
      chainPem: now.chainPem,
      csrPem: now.csrPem,
      server: 'https://ca.example.org/dir',
    },
  ]);
});

test('lego: files side by side, the issuer apart, a CSR in another folder or in the JSON', async () => {
  const [one, two, three] = [
    await made('one.example.org'),
    await made('two.example.org'),
    await made('three.example.org'),
  ];
  const { intermediate, root: caRoot } = await otherCa();
  const root = await folderOf({
    'certificates/one.example.org.crt': one.leaf,
    'certificates/one.example.org.issuer.crt': intermediate + caRoot,
    'certificates/one.example.org.key': KEY,
    'certificates/one.example.org.pem': one.leaf + KEY,
    'certificates/two.example.org.crt': two.chainPem,
    'certificates/two.example.org.json': { csr: Buffer.from(two.csrPem).toString('base64') },
    'certificates/three.example.org.crt': three.chainPem,
    'archives/1.two.example.org.crt': (await made('two.example.org')).chainPem,
    'accounts/any/account.json': '{}',
  });
  // Of the same key, but for another name as well: not the one that it was ordered with.
  const csrs = await folderOf({
    'a/one.txt': one.csrPem,
    'a/other.csr': (await makeCsr({ names: ['three.example.org'] })).pem,
  });
  expect((await readLineages(root, csrs)).lineages).toMatchObject([
    { name: 'one.example.org', chainPem: one.chainPem, csrPem: one.csrPem },
    { name: 'three.example.org', chainPem: three.chainPem, csrPem: undefined },
    { name: 'two.example.org', chainPem: two.chainPem, csrPem: two.csrPem },
  ]);
});

test('what is no certificate is passed by, and a folder that is none is a sentence', async () => {
  const root = await folderOf({
    'broken.pem': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    'broken.csr': '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n',
    'broken.json': '{"csr": 1',
    'notes.txt': 'server = nowhere',
  });
  expect(await readLineages(root)).toEqual({ lineages: [], unread: [] });
  await expect(readLineages(join(root, 'absent'))).rejects.toMatchObject({
    code: 'ERR_CERTIFICATE_FILES',
  });
});

test('what cannot be read is passed by and named; the folder itself is a sentence', async () => {
  const one = await made('one.example.org');
  const root = await folderOf({
    'one.crt': one.chainPem,
    'one.csr': one.csrPem,
    'locked.pem': one.chainPem,
    'locked/deep.pem': one.chainPem,
    'one.key': KEY,
  });
  await symlink('gone', join(root, 'dangling.pem'));
  await chmod(root, 0o755);
  for (const path of ['locked.pem', 'locked', 'one.key']) await chmod(join(root, path), 0);
  await asAnyUser(async () => {
    const { lineages, unread } = await readLineages(root);
    expect(lineages).toMatchObject([{ name: 'one', csrPem: one.csrPem }]);
    // (A file that by its name is a private key is not even looked at.)
    expect(unread).toEqual([
      `${join(root, 'dangling.pem')} (ENOENT)`,
      `${join(root, 'locked')} (EACCES)`,
      `${join(root, 'locked.pem')} (EACCES)`,
    ]);
    await expect(readLineages(join(root, 'locked'))).rejects.toMatchObject({
      code: 'ERR_CERTIFICATE_FILES',
      message: `${join(root, 'locked')} is no folder that can be read (EACCES); name the folder of the client, such as /etc/letsencrypt.`,
    });
  });
  await chmod(join(root, 'locked'), 0o700);
});
