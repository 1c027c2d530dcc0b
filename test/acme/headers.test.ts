import { expect, test } from 'vitest';
import { absolute, linkTargets, retryAfterMs } from '../../src/acme/headers.ts';

const DATE = 'Mon, 23 Nov 2026 12:00:00 GMT';

test('Retry-After in seconds is whole milliseconds, at most eight days', () => {
  expect(retryAfterMs({ 'retry-after': '3' })).toBe(3000);
  expect(retryAfterMs({ 'retry-after': ['7', '9'] })).toBe(7000);
  expect(retryAfterMs({ 'retry-after': '0' })).toBe(0);
  expect(retryAfterMs({ 'retry-after': '999999999' })).toBe(691_200_000);
});

test('Retry-After as a date counts from the Date of the answer, whatever our clock says', () => {
  for (const until of [
    'Mon, 23 Nov 2026 12:01:30 GMT',
    'Monday, 23-Nov-26 12:01:30 GMT',
    'Mon Nov 23 12:01:30 2026',
  ]) {
    expect(retryAfterMs({ 'retry-after': until, date: DATE })).toBe(90_000);
  }
  expect(retryAfterMs({ 'retry-after': 'Mon, 23 Nov 2026 11:00:00 GMT', date: DATE })).toBe(0);
  expect(retryAfterMs({ 'retry-after': 'Wed, 23 Dec 2026 11:00:00 GMT', date: DATE })).toBe(
    691_200_000,
  );
});

test('without a usable Date the own clock is taken', () => {
  const until = new Date(Date.now() + 60_000).toUTCString();
  const wait = retryAfterMs({ 'retry-after': until, date: 'yesterday' });
  expect(wait).toBeGreaterThan(50_000);
  expect(wait).toBeLessThanOrEqual(60_000);
});

test('a Retry-After that is neither is none', () => {
  for (const value of ['', 'soon', '-1', '1.5', '3s', '2026-11-23T12:00:00Z', 'Monday']) {
    expect(retryAfterMs({ 'retry-after': value })).toBeUndefined();
  }
  expect(retryAfterMs({})).toBeUndefined();
});

test('links are found in folded and repeated fields and resolved against the request', () => {
  const base = 'https://ca.example/acme/cert/1';
  const link = [
    '<../dir>;rel="index", <https://ca.example/a,b>; title="x, rel=y; \\" <z>"; rel="alternate"',
    '</alt/2>;REL=Alternate, <?p=3>; rel="up alternate" , <https://ca.example/a,b>;rel=alternate',
    'nonsense',
  ];
  expect(linkTargets({ link }, 'alternate', base)).toEqual([
    'https://ca.example/a,b',
    'https://ca.example/alt/2',
    'https://ca.example/acme/cert/1?p=3',
  ]);
  expect(linkTargets({ link: link[0] }, 'index', base)).toEqual(['https://ca.example/acme/dir']);
  expect(linkTargets({ link }, 'help', base)).toEqual([]);
  expect(linkTargets({}, 'help', base)).toEqual([]);
});

test('what stands inside of a quoted parameter is no relation', () => {
  const base = 'https://ca.example/acme/orders';
  for (const link of [
    '<p2>; title="; rel=next"; rel="up"',
    '<p2>; title="a \\"; rel=next"; rel=up',
    '<p2>; "; rel=next"; rel=up',
    '<p2>; title=a"; rel=next"; rel=up',
    // Of several only the first one counts (RFC 8288 §3.3).
    '<p2>; rel=up; rel=next',
  ]) {
    expect(linkTargets({ link }, 'next', base), link).toEqual([]);
    expect(linkTargets({ link }, 'up', base), link).toEqual(['https://ca.example/acme/p2']);
  }
});

test('an absolute reference stays letter by letter, since signatures cover it', () => {
  const base = 'https://ca.example/x';
  expect(absolute('https://CA.example:443/A%7e', base)).toBe('https://CA.example:443/A%7e');
  expect(absolute('y', base)).toBe('https://ca.example/y');
  expect(absolute('https://', base)).toBeUndefined();
});

test('a hostile Link field costs linear time', () => {
  const started = performance.now();
  expect(linkTargets({ link: `<a>${';"'.repeat(8000)}` }, 'x', 'https://ca.example/')).toEqual([]);
  expect(linkTargets({ link: `<a>${';a'.repeat(8000)}` }, 'x', 'https://ca.example/')).toEqual([]);
  expect(linkTargets({ link: '<a>;'.repeat(5000) }, 'x', 'https://ca.example/')).toEqual([]);
  expect(performance.now() - started).toBeLessThan(1000);
});
