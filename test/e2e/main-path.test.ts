import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { freshName, pebbleWorld } from '../helpers/world.ts';

test('an inserted CSR comes back as a certificate', async () => {
  const world = await pebbleWorld();
  await world.worker();
  const name = freshName();
  const id = await world.insert({ names: [name, `www.${name}`] });
  await world.reach(id, 'issued');
  const [row] = await world.sql<[{ chain_pem: string; identifiers: string[] }]>`
    select chain_pem, identifiers from acme.current_certificate where csr_id = ${id}`;
  expect(row.identifiers).toEqual([name, `www.${name}`].sort());
  expect(new X509Certificate(row.chain_pem).subjectAltName).toContain(name);
  expect(await world.events(id)).toEqual([
    'accepted',
    'order_created',
    'challenge_published',
    'challenge_published',
    'authorization_valid',
    'authorization_valid',
    'order_finalized',
    'issued',
  ]);
});
