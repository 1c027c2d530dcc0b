import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { open, seal, sealedFor, sealingKeys } from '../../src/secrets/seal.ts';

const binding = { purpose: 'account-key', row: 'main', origin: 'https://ca.example.org' } as const;

test('what is sealed opens for what it is of, and says with which key it was sealed', async () => {
  const keys = await sealingKeys(randomBytes(32).toString('base64'));
  const jwe = await seal(keys, binding, { d: 'secret' });
  expect(await open(keys, binding, jwe)).toEqual({ d: 'secret' });
  expect(sealedFor(jwe)).toMatchObject({ kid: keys[0].id, ...binding });
  const others = await sealingKeys(randomBytes(32).toString('base64'));
  await expect(open(others, binding, jwe)).rejects.toMatchObject({
    code: 'ERR_SEALED',
    message: expect.stringContaining(`with the secret key ${keys[0].id}, and`) as string,
  });
});

test('the id of a key, which nothing proves, is shown only where it can be one', async () => {
  const keys = await sealingKeys(randomBytes(32).toString('base64'));
  for (const kid of ['\u001b[31mred', 'a b', 'x'.repeat(33), '', { a: 1 }, 7, null]) {
    const header = Buffer.from(JSON.stringify({ alg: 'dir', kid })).toString('base64url');
    expect(sealedFor(`${header}....`).kid).toBeUndefined();
    await expect(open(keys, binding, `${header}....`)).rejects.toMatchObject({
      code: 'ERR_SEALED',
      message: expect.stringContaining('with the secret key (none), and') as string,
    });
  }
});
