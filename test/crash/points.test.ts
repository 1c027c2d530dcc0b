import { expect, test } from 'vitest';
import { crashPoints } from './points.ts';

test('every request to a server and every commit has a crash point on either side', async () => {
  const { names, missing } = await crashPoints();
  expect(missing).toEqual([]);
  for (const known of ['order.finalize.sent', 'certificate_stored.committed']) {
    expect(names).toContain(known);
  }
});
