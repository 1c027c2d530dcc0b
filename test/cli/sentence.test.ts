import { expect, test } from 'vitest';
import { asSentence } from '../../src/cli/sentence.ts';

test('what a server says ends with one full stop, whether or not it has its own', () => {
  expect(asSentence('The account is deactivated')).toBe('The account is deactivated.');
  expect(asSentence('No such certificate. ')).toBe('No such certificate.');
  expect(asSentence('Why?')).toBe('Why?');
});
