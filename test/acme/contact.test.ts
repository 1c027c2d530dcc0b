import { expect, test } from 'vitest';
import { contactProblem } from '../../src/acme/index.ts';

test.each([
  'mailto:ops@example.org',
  'MAILTO:first.last+acme@mail.example.co.uk',
  "mailto:o'brien@xn--mnchen-3ya.example",
  'mailto:a%2Bb@example.org',
])('%s is a contact', (contact) => {
  expect(contactProblem(contact)).toBeUndefined();
});

test.each([
  ['ops@example.org', 'starts with mailto:'],
  ['tel:+4912345', 'starts with mailto:'],
  ['mailto:ops@example.org?subject=x', 'no header fields'],
  ['mailto:a@example.org,b@example.org', 'one address'],
  ['mailto:', 'needs an address'],
  ['mailto:ops', 'needs an address'],
  ['mailto:@example.org', 'needs an address'],
  ['mailto:ops@localhost', 'needs an address'],
  ['mailto:ops@192.0.2.1', 'needs an address'],
  ['mailto:a b@example.org', 'needs an address'],
  ['mailto:a%20b@example.org', 'needs an address'],
  ['mailto:a%zz@example.org', 'needs an address'],
  ['mailto:a%2Cb@example.org', 'needs an address'],
  ['mailto:Ops <ops@example.org>', 'needs an address'],
  ['mailto:a..b@example.org', 'needs an address'],
  ['mailto:ops@exam_ple.org', 'needs an address'],
  ['mailto:ops@-example.org', 'needs an address'],
  ['mailto:ops@münchen.example', 'needs an address'],
  [`mailto:${'a'.repeat(65)}@example.org`, 'needs an address'],
  ['mailto:ops@example.org\n', 'needs an address'],
])('%j is none, and the sentence says why', (contact, why) => {
  expect(contactProblem(contact)).toContain(why);
});
