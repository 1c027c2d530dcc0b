import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readForeignAccount } from '../../src/account-file/index.ts';
import { removeFolder } from '../../src/local/os-user.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { testFolder } from '../helpers/sweep.ts';
import { freshName } from '../helpers/world.ts';
import { accountOfKey } from './helpers/ask.ts';
import { client, type ClientName } from './helpers/clients.ts';

const clients: readonly [ClientName, string, { knowsDirectory: boolean; keepsContact: boolean }][] =
  [
    ['certbot', 'certbot', { knowsDirectory: true, keepsContact: false }],
    ['lego', 'lego 4', { knowsDirectory: false, keepsContact: true }],
    ['dehydrated', 'dehydrated', { knowsDirectory: true, keepsContact: true }],
  ];

test.for(clients)(
  'an account that %s made is read, and is the one that the server has for its key',
  async ([name, shown, { knowsDirectory, keepsContact }], { skip }) => {
    const pebble = await pebbleForTests();
    const root = await testFolder(name);
    onTestFinished(() => removeFolder(root));
    const program = await client(name, pebble, join(root, 'files'));
    if (program === undefined) {
      // Where all checks run, .ci/install brings them.
      expect(process.env['CI'], `${name} is not installed`).not.toBe('true');
      return skip(`${name} is not installed`);
    }
    await program.register(freshName('lego'));
    const account = await readForeignAccount(program.folder);
    expect(account).toMatchObject({
      client: shown,
      directoryUrl: knowsDirectory ? pebble.directoryUrl : undefined,
      contact: keepsContact ? ['mailto:ops@example.org'] : [],
    });
    // The server is asked, not the files: it has an account for this key, at this URL.
    expect(account.accountUrl).toBe(await accountOfKey(pebble, account.privateJwk));
  },
);
