import { expect, test } from 'vitest';
import { optionalTime } from '../../src/acme/guards.ts';

const read = (value: unknown) => optionalTime({ value }, 'value');

test('a time of RFC 3339 is UTC with milliseconds, however it is written', () => {
  for (const [text, time] of [
    ['2026-02-28T01:02:03Z', '2026-02-28T01:02:03.000Z'],
    ['2026-02-28t01:02:03.5z', '2026-02-28T01:02:03.500Z'],
    ['2026-02-28 01:02:03.123456789Z', '2026-02-28T01:02:03.123Z'],
    ['2026-02-28T23:02:03-01:30', '2026-03-01T00:32:03.000Z'],
    ['2028-02-29T00:00:00+14:00', '2028-02-28T10:00:00.000Z'],
    // A leap second is the second after it, as PostgreSQL has it.
    ['2016-12-31T23:59:60Z', '2017-01-01T00:00:00.000Z'],
    ['2017-01-01T00:59:60+01:00', '2017-01-01T00:00:00.000Z'],
  ]) {
    expect(read(text), text).toBe(time);
  }
});

test('a day that no calendar has, or a time without its zone, is no time', () => {
  for (const value of [
    '2026-02-30T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-04-31T00:00:00+02:00',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-01T00:00:00',
    '2026-01-01T00:00Z',
    '2026-01-01T00:00',
    '2026-01-01',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:61Z',
    '2026-01-01T00:00:00+2',
    '2026-01-01T00:00:00+24:00',
    '2026-01-01T00:00:00 GMT',
    '2026-01-01T00:00:00Z (noon)',
    '0999-01-01T00:00:00Z',
    '9999-01-01T00:00:00Z',
    '1969-12-31T23:59:59Z',
    '',
    1,
    undefined,
  ]) {
    expect(read(value), String(value)).toBeUndefined();
  }
});
