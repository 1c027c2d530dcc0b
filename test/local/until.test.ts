import { expect, test } from 'vitest';
import { until } from '../helpers/until.ts';

test('until returns the first answer that is a thing', async () => {
  let asked = 0;
  expect(await until(() => (++asked < 3 ? undefined : 'here'), { what: 'it comes' })).toBe('here');
  expect(asked).toBe(3);
});

test('until fails with what it waited for and what it saw last, also an error', async () => {
  const what = 'the moon is square';
  await expect(until(() => false, { what, timeoutMs: 30 })).rejects.toThrow(
    'Not within 30 ms: the moon is square. Last seen: false',
  );
  const broken = () => Promise.reject(new Error('no telescope'));
  await expect(until(broken, { what, timeoutMs: 30 })).rejects.toThrow('no telescope');
});
