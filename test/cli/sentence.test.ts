import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { errorSentence } from '../../src/cli/report-error.ts';
import { asSentence } from '../../src/cli/sentence.ts';
import { asAnyUser } from '../helpers/as-any-user.ts';

test('what a server says ends with one full stop, whether or not it has its own', () => {
  expect(asSentence('The account is deactivated')).toBe('The account is deactivated.');
  expect(asSentence('No such certificate. ')).toBe('No such certificate.');
  expect(asSentence('Why?')).toBe('Why?');
});

test('an ordinary user who may not listen on port 80 is told the capability that it takes', async () => {
  const server = createServer();
  let error: unknown;
  await asAnyUser(async () => {
    error = await new Promise((resolve) => {
      server.once('error', resolve);
      server.listen(80, '127.0.0.1', () => server.close(resolve));
    });
  });
  // In many containers every user may have every port, and on some machines port 80 is in use.
  if (!(error instanceof Error && 'code' in error && error.code === 'EACCES')) return;
  expect(errorSentence(error, undefined, {})).toBe(
    'http-01 cannot be answered on 127.0.0.1:80 (EACCES): this user may not listen on that port. Give the worker CAP_NET_BIND_SERVICE, or set PGACME_HTTP01_LISTEN to a port above 1023.',
  );
});
