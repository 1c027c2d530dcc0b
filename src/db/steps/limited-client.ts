import type { Duplex } from 'node:stream';
import type pg from 'pg';
import { noAnswer } from './limited.ts';

/** Where the driver keeps its socket; below it nothing of the driver's waits for the other side. */
interface Inside {
  connection: { stream: Duplex };
}

/** Ends a connection at once; what waits on it fails with this error. */
export function destroy(client: pg.ClientBase, error?: Error): void {
  (client as unknown as Inside).connection.stream.destroy(error);
}

/** How long a good-bye may take. */
const END_MS = 2000;

/** Ends a connection, whatever its other side does; never rejects. */
export async function endClient(client: pg.Client): Promise<void> {
  const timer = setTimeout(() => destroy(client), END_MS);
  await client.end().catch(() => undefined);
  clearTimeout(timer);
}

/**
 * Gives each query of this client a time limit, past which the connection is destroyed. The driver's own
 * (`query_timeout`) leaves the connection in its pool, where the next query waits behind the lost one.
 */
export function limitQueries(client: pg.ClientBase, answerMs: number): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  const limited = (...args: unknown[]): unknown => {
    const timer = setTimeout(() => destroy(client, noAnswer(answerMs)), answerMs);
    const stop = () => clearTimeout(timer);
    const last = args.at(-1);
    if (typeof last === 'function') {
      const told = (...values: unknown[]): unknown => {
        stop();
        return (last as (...values: unknown[]) => unknown)(...values);
      };
      return query(...args.slice(0, -1), told);
    }
    const answer = query(...args);
    if (answer instanceof Promise) answer.then(stop, stop);
    else stop();
    return answer;
  };
  client.query = limited as typeof client.query;
}
