import { expect, test } from 'vitest';
import { openShop } from '../helpers/shop.ts';

test('nothing needs attention where all is well', async () => {
  const shop = await openShop();
  expect([...(await shop.sql`select * from acme.attention`)]).toEqual([]);
  expect([...(await shop.app`select * from acme.attention`)]).toEqual([]);
});
