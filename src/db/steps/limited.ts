import type postgres from 'postgres';
import { PgacmeError } from '../../errors.ts';
import type { Lines } from './lines.ts';

/** A query of the driver's: a promise that is sent when it is first waited for. */
type Query = Promise<unknown> & { handle: () => unknown };

/**
 * The same pool, where a query that gets no answer in time ends with its connection: it may have had its
 * effect, or not. A pool that ends takes all of its sockets along, also those that nobody closes at the
 * other end.
 */
export function limited(sql: postgres.Sql, lines: Lines, answerMs: number): postgres.Sql {
  const end = sql.end.bind(sql);
  sql.end = async (options) => {
    await end(options);
    lines.destroy();
  };
  return new Proxy(sql, {
    apply(target, self, values: Parameters<postgres.Sql>) {
      const made: unknown = Reflect.apply(target, self, values);
      // (What stands for a name or for values is no promise.)
      if (made instanceof Promise) watch(made as Query, lines, answerMs);
      return made;
    },
  });
}

function watch(query: Query, lines: Lines, answerMs: number): void {
  const handle = query.handle.bind(query);
  let isSent = false;
  query.handle = () => {
    if (!isSent) {
      isSent = true;
      bound(query, lines, answerMs);
    }
    return handle();
  };
}

function bound(query: Query, lines: Lines, answerMs: number): void {
  let read = lines.read();
  let isAgain = false;
  const timer = setInterval(() => {
    const error = noAnswer(answerMs);
    // It is not known on which connection it waits: on one of those that are silent, or behind others' answers.
    if (isAgain) lines.destroy(error);
    else lines.destroySilent(read, error);
    isAgain = true;
    read = lines.read();
  }, answerMs);
  // Of a query that the driver lost with its connection, nothing is left to wait for: the process may end.
  timer.unref();
  const stop = () => clearInterval(timer);
  void Promise.prototype.then.call(query, stop, stop);
}

/** The error of a query that got no answer in time. */
export function noAnswer(answerMs: number): PgacmeError {
  return new PgacmeError(
    'ERR_NO_ANSWER',
    `PostgreSQL gave no answer within ${answerMs} ms, and the connection was given up. Check the network and proxies between the two.`,
  );
}
