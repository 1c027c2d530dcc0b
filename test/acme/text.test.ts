import { expect, test } from 'vitest';
import { jsonbSafe, printable } from '../../src/acme/index.ts';
import { isPlain } from '../../src/acme/text.ts';

test('printable text has no control, escape or bidirectional characters', () => {
  expect(printable('a\u001b[31mred\u0007\u0000 \u202eb\u2066c\u200f\u200b\n\td\ud800', 100)).toBe(
    'a[31mred bc d',
  );
});

test('printable text is cut to the bound, never inside a character', () => {
  expect(printable('x'.repeat(201), 200)).toBe(`${'x'.repeat(199)}…`);
  expect(printable('x'.repeat(200), 200)).toBe('x'.repeat(200));
  expect(printable(`ab😀😀`, 4)).toBe('ab…');
  // What is hidden does not make room for what lies beyond the bound of the work.
  expect(printable(`${'\0'.repeat(1000)}tail`, 10)).toBe('…');
});

test('plain text is what printable would leave alone', () => {
  expect(isPlain('data:text/plain,Do%20what', 100)).toBe(true);
  for (const text of ['', 'a\0', 'a\u202e', '\ud800', 'x'.repeat(101)]) {
    expect(isPlain(text, 100)).toBe(false);
  }
});

test('what can forge or hide text becomes visible in what is stored', () => {
  const stored = jsonbSafe({ a: 'x\u001b[31m\u202ey\u0085\u{e0001}\n' });
  expect(stored).toEqual({ a: 'x\\u001b[31m\\u202ey\\u0085\\u{e0001}\n' });
});

test('what jsonb refuses becomes visible text, in names too, and nothing else changes', () => {
  const document: unknown = JSON.parse(
    '{"a\\u0000":"x\\u0000y","b":["\\ud83d","😀",1,null,true],"__proto__":{"c":"\\udc00z"}}',
  );
  expect(JSON.stringify(jsonbSafe(document as Record<string, unknown>))).toBe(
    '{"a\\\\u0000":"x\\\\u0000y","b":["\\\\ud83d","😀",1,null,true],"__proto__":{"c":"\\\\udc00z"}}',
  );
});

test('JSON of any depth is walked without exhausting the stack', () => {
  const deep: unknown = JSON.parse(`{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`);
  expect(JSON.stringify(jsonbSafe(deep as Record<string, unknown>))).toMatch(/^\{"a":\[+"…"\]+\}$/);
});
