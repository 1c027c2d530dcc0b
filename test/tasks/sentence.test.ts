import { expect, test } from 'vitest';
import { sentence } from '../../src/tasks/sentence.ts';

const NAME = 'a-rather-long-name-of-a-customer.example.org';
const URL = `http://${NAME}/.well-known/acme-challenge/5Vzl5Xk1sLqXc0dTn3yQw8uBf9eHj2mRa7pGt6oNiKs`;

test.each([
  [
    "Let's Encrypt",
    `connection: 203.0.113.5: Fetching ${URL}: Timeout during connect (likely firewall problem)`,
    'Timeout during connect (likely firewall problem)',
  ],
  [
    'Pebble',
    `connection: Get "${URL}": dial tcp 127.0.0.1:5002: connect: connection refused`,
    'connect: connection refused',
  ],
  [
    'a server that is away',
    `https://ca.example.org/acme/new-order could not be reached (ECONNREFUSED: connect ECONNREFUSED 192.0.2.1:443); try again later.`,
    'ECONNREFUSED 192.0.2.1:443',
  ],
])('the words of %s: the cause comes before any URL', (_, said, cause) => {
  const text = sentence(said);
  expect(text.indexOf(cause)).toBeGreaterThan(0);
  expect(text.indexOf(cause)).toBeLessThan(80);
  expect(text.indexOf('://')).toBeGreaterThan(text.indexOf(cause) + cause.length);
  expect(text).toMatch(/\)\.$/);
});

test('a text without a URL stays as it is, with one stop', () => {
  expect(sentence('CAA record prevents issuance..')).toBe('CAA record prevents issuance.');
});

test('a URL that a text begins with stands for the server', () => {
  expect(sentence('https://ca.example.org/new-order could not be reached.')).toBe(
    'The server could not be reached (https://ca.example.org/new-order).',
  );
});

test('a URL that a text has twice is shown once', () => {
  expect(sentence(`Fetching ${URL} failed: ${URL} redirects to itself`)).toBe(
    `Fetching … failed: … redirects to itself (${URL}).`,
  );
});

test('what is long is cut at its end, where the URL is', () => {
  const text = sentence(`Fetching ${URL} failed: no route to host`, 60);
  expect(text.length).toBeLessThanOrEqual(61);
  expect(sentence(`Fetching ${URL}: ${'no '.repeat(40)}`, 200).length).toBeLessThanOrEqual(201);
});
