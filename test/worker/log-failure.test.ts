import pg from 'pg';
import { expect, test } from 'vitest';
import { makeLogger } from '../../src/log.ts';
import { logFailure } from '../../src/worker/log-failure.ts';

interface Line {
  level: number;
  reason?: string;
  err?: { stack: string };
}

function logged(error: unknown): Line | undefined {
  const lines: Line[] = [];
  const log = makeLogger('info', {
    write: (line: string) => lines.push(JSON.parse(line) as Line),
  });
  logFailure(log, error, 'it failed');
  return lines[0];
}

const withCode = (code: string, message = 'no') => Object.assign(new Error(message), { code });

test.each([
  ['a PostgreSQL that is restarted', withCode('57P01')],
  ['a connection that is refused', withCode('ECONNREFUSED')],
  [
    'a connection that broke, as the driver tells it',
    new Error('Connection terminated unexpectedly'),
  ],
  [
    'IPv6 and IPv4 refused',
    new AggregateError([withCode('ECONNREFUSED'), withCode('ECONNREFUSED')]),
  ],
])('%s heals by itself: one line at info, without a stack', (_, error) => {
  expect(logged(error)).toMatchObject({ level: 30, reason: error.message });
  expect(logged(error)).not.toHaveProperty('err');
});

test.each([
  ['a full disk', withCode('53100')],
  ['a wrong password', withCode('28P01')],
  ['a bug', new TypeError('x is undefined')],
  ['what PostgreSQL refuses', new pg.DatabaseError('permission denied', 1, 'error')],
])('%s needs a person: an error with its stack', (_, error) => {
  expect(logged(error)).toMatchObject({ level: 50, err: { stack: expect.any(String) as string } });
});
