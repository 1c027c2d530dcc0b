import { expect, test } from 'vitest';
import { freshName } from '../helpers/world.ts';
import { crashWorlds } from './crash-world.ts';

const newWorld = crashWorlds();

test('a csr cancelled after its worker died with the CSR sent: the certificate is stored first', async () => {
  const world = await newWorld();
  try {
    const csr = await world.insert({ names: [freshName()] });
    const victim = world.spawn({ point: 'order.finalize.sent' });
    expect(await victim.exited).toEqual({ code: null, signal: 'SIGKILL' });
    await world.sql`select acme.cancel(${csr})`;
    await world.rescuer();
    const row = await world.reach(csr, 'cancelled', 30_000);
    expect(row.has_certificate).toBe(true);
    expect((await world.events(csr)).slice(-3)).toEqual(['order_finalized', 'issued', 'cancelled']);
  } finally {
    await world.close();
  }
});
