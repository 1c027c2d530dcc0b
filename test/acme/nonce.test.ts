import { expect, test } from 'vitest';
import { NoncePool } from '../../src/acme/nonce.ts';

test('the newest nonce comes first, and each once', () => {
  const pool = new NoncePool();
  for (const nonce of ['a', 'b', 'c']) pool.keep({ 'replay-nonce': nonce });
  expect([pool.take(), pool.take(), pool.take(), pool.take()]).toEqual(['c', 'b', 'a', undefined]);
});

test('the pool holds 64 nonces; the oldest go first', () => {
  const pool = new NoncePool();
  for (let i = 1; i <= 70; i += 1) pool.keep({ 'replay-nonce': `n${i}` });
  const taken = Array.from({ length: pool.size }, () => pool.take());
  expect(taken).toHaveLength(64);
  expect(taken.at(0)).toBe('n70');
  expect(taken.at(-1)).toBe('n7');
});

test('a nonce that is not base64url is ignored', () => {
  const pool = new NoncePool();
  for (const nonce of ['', 'a b', 'a=', 'a\r\nb', 'ä', 'x'.repeat(513), undefined]) {
    pool.keep({ 'replay-nonce': nonce });
  }
  expect(pool.size).toBe(0);
});
