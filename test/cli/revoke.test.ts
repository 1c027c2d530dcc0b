import { createPrivateKey, webcrypto } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type MakeAlgorithm, makeCsr } from '../../src/x509/index.ts';
import { certificateStatus } from '../helpers/certificate-status.ts';
import type { TestPebble } from '../helpers/pebble.ts';
import { testFolder } from '../helpers/sweep.ts';
import { freshName, pebbleWorld, type World } from '../helpers/world.ts';
import { cli, linesOf } from './cli.ts';

vi.setConfig({ testTimeout: 60_000 });

const ends: (() => Promise<void>)[] = [];
let world: World & { pebble: TestPebble };
let admin: Record<string, string>;
let folder: string;

beforeAll(async () => {
  world = await pebbleWorld({}, (end) => ends.push(end));
  await world.worker();
  admin = { DATABASE_URL: (await world.database.login('acme_admin')).url };
  folder = await testFolder('revoke');
  return async () => {
    for (const end of ends) await end();
  };
});

interface Issued {
  csr: string;
  id: string;
  serial: string;
  /** Files. */
  key: string;
  certificate: string;
  keyPem: string;
}

type Form = 'pkcs8' | 'sec1' | 'pkcs1';

/** A certificate, its key and itself in files, as whoever serves it has them. */
async function issued(algorithm: MakeAlgorithm = 'P-256', form: Form = 'pkcs8'): Promise<Issued> {
  const name = freshName();
  const { pem, keyPem: pkcs8 } = await makeCsr({ names: [name], algorithm });
  const keyPem = createPrivateKey(pkcs8).export({ type: form, format: 'pem' }).toString();
  const csr = await world.insert({ pem });
  await world.reach(csr, 'issued', 30_000);
  const [row] = await world.sql<[{ id: string; serial: string; chain_pem: string }]>`
    select id, serial, chain_pem from acme.certificate where csr_id = ${csr}`;
  const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  await writeFile(key, keyPem, { mode: 0o600 });
  await writeFile(certificate, row.chain_pem);
  return { csr, id: row.id, serial: row.serial, key, certificate, keyPem };
}

/** The base64 lines of a key must stand nowhere. */
function expectNoKey(text: string, { keyPem }: Issued): void {
  for (const line of keyPem.split('\n')) {
    if (line.length > 20 && !line.startsWith('-----')) expect(text).not.toContain(line);
  }
}

describe('a certificate is revoked with its own key', () => {
  test.each([
    ['P-256', 'pkcs8'],
    ['P-256', 'sec1'],
    ['P-384', 'sec1'],
    ['RSA-2048', 'pkcs1'],
    ['RSA-2048', 'pkcs8'],
  ] as const)('%s, %s, by its id', async (algorithm, form) => {
    const one = await issued(algorithm, form);
    // Its csr shall not be renewed beside the next test.
    await world.sql`update acme.csr set renewal = 'off' where id = ${one.csr}`;
    const args = ['revoke', '--key-file', one.key, '--id', one.id, '--reason', 'superseded'];
    const done = await cli(args, admin);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(done.stdout)[0]).toBe(
      `ca: the certificate with serial ${one.serial} is revoked.`,
    );
    expect(await certificateStatus(world.pebble, one.serial)).toMatchObject({
      Status: 'Revoked',
      Reason: 4,
    });
    const [row] = await world.sql`
      select state, revoked_at is not null as is_revoked from acme.certificate where id = ${one.id}`;
    expect(row).toEqual({ state: 'revoked', is_revoked: true });
    const again = await cli(args, admin);
    expect(linesOf(again.stdout)[0]).toContain('was revoked already');
    expect(again.code).toBe(0);
    const [{ text }] = await world.sql<[{ text: string }]>`
      select jsonb_agg(to_jsonb(e))::text as text from acme_private.event e`;
    expectNoKey(done.stdout + text, one);
  });

  test('from a file, and its csr hears of the compromised key', async () => {
    const one = await issued();
    const args = ['--certificate', one.certificate, '--reason', 'keyCompromise', '--server', 'ca'];
    const done = await cli(['revoke', '--key-file', one.key, ...args], admin);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(done.stdout)[1]).toContain(`Its csr ${one.csr} is needs_new_csr`);
    expect(await certificateStatus(world.pebble, one.serial)).toMatchObject({ Reason: 1 });
    await world.reach(one.csr, 'needs_new_csr');
  });

  test('for another reason, and the CA blocks the key: its csr needs another CSR', async () => {
    const one = await issued();
    await world.sql`update acme.server set blocks_revoked_keys = true where name = 'ca'`;
    const args = ['--id', one.id, '--reason', 'superseded'];
    const done = await cli(['revoke', '--key-file', one.key, ...args], admin);
    await world.sql`update acme.server set blocks_revoked_keys = false where name = 'ca'`;
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(done.stdout)[1]).toContain(`Its csr ${one.csr} is needs_new_csr`);
    // Sent as it was said.
    expect(await certificateStatus(world.pebble, one.serial)).toMatchObject({ Reason: 4 });
  });

  test('that this database does not have', async () => {
    const one = await issued();
    await world.sql`delete from acme.csr where id = ${one.csr}`;
    const done = await cli(
      ['revoke', '--key-file', one.key, '--certificate', one.certificate],
      admin,
    );
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(linesOf(done.stdout)).toEqual([
      `ca: the certificate with serial ${one.serial} is revoked.`,
      'This database does not have it; nothing else was done.',
    ]);
    expect(await certificateStatus(world.pebble, one.serial)).toMatchObject({ Status: 'Revoked' });
  });
});

describe('refused before anything is sent', () => {
  test('the key of another certificate', async () => {
    const [one, other] = [await issued(), await issued()];
    for (const which of [
      ['--id', one.id],
      ['--certificate', one.certificate],
    ]) {
      const { code, stderr } = await cli(['revoke', '--key-file', other.key, ...which], admin);
      expect(code).toBe(1);
      expect(stderr).toBe(
        `The key in ${other.key} is not the key of this certificate (serial ${one.serial}); give the one that its CSR was made with. Nothing was sent.\n`,
      );
      expectNoKey(stderr, other);
    }
    expect(await certificateStatus(world.pebble, one.serial)).toMatchObject({ Status: 'Valid' });
  });

  test('what is no key, is encrypted, or cannot sign', async () => {
    const one = await issued();
    const encrypted = join(folder, 'encrypted.key');
    await writeFile(
      encrypted,
      createPrivateKey(one.keyPem).export({
        type: 'pkcs8',
        format: 'pem',
        cipher: 'aes-256-cbc',
        passphrase: 'secret',
      }),
    );
    const broken = join(folder, 'broken.key');
    await writeFile(broken, one.keyPem.replace(/[A-Z]/g, 'A'));
    for (const [key, sentence] of [
      [one.certificate, 'There is no private key in'],
      [broken, 'There is no private key in'],
      [encrypted, 'is encrypted; decrypt it first'],
      [join(folder, 'nothing'), 'cannot be read (ENOENT)'],
    ] as const) {
      const args = ['revoke', '--key-file', key, '--id', one.id, '--verbose'];
      const { code, stderr } = await cli(args, admin);
      expect(code).toBe(1);
      expect(stderr).toContain(sentence);
      expectNoKey(stderr, one);
    }
  });

  test('a certificate, a server or a reason that there is not', async () => {
    const one = await issued();
    const key = ['revoke', '--key-file', one.key];
    for (const [args, code, sentence] of [
      [['--id', '987654'], 2, 'There is no certificate 987654; see acme.certificate.'],
      [['--id', "1'"], 2, "There is no certificate 1'; see acme.certificate."],
      [['--id', one.id, '--server', 'nobody'], 2, 'There is no server nobody in acme.server.'],
      [
        ['--id', one.id, '--reason', 'stolen'],
        2,
        'does not know the reason "stolen"; it is one of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn.',
      ],
      [['--certificate', one.key], 2, 'holds no certificate in PEM form'],
      [['--certificate', one.certificate, '--id', one.id], 2, 'needs either --certificate'],
      [[], 2, 'needs either --certificate FILE or --id N'],
    ] as const) {
      const done = await cli([...key, ...args], admin);
      expect(done.stderr).toContain(sentence);
      expect(done.code).toBe(code);
    }
    const { code, stderr } = await cli([...key, '--id', one.id], {
      DATABASE_URL: (await world.database.login('acme_app')).url,
    });
    expect(stderr).toContain(`There is no certificate ${one.id}`);
    expect(code).toBe(2);
    expect(await certificateStatus(world.pebble, one.serial)).toMatchObject({ Status: 'Valid' });
  });
});

test('what the server does not do is told with its words', async () => {
  const one = await issued();
  const elsewhere = webcrypto.getRandomValues(new Uint8Array(4)).join('');
  await world.sql`
    insert into acme.server (name, directory_url, ca_bundle)
    select ${`other-${elsewhere}`}, directory_url || 'ectory', ca_bundle from acme.server where name = 'ca'`;
  const { code, stderr } = await cli(
    ['revoke', '--key-file', one.key, '--id', one.id, '--server', `other-${elsewhere}`],
    admin,
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/directory answered 404|not JSON|without a problem document/);
});
