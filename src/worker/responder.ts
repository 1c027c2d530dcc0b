import type { Logger } from 'pino';
import type { Listen } from '../config.ts';
import { connect } from '../db/connect.ts';
import { type Http01Responder, startHttp01 } from '../solver/http01.ts';
import type { Published } from '../solver/published.ts';

/**
 * http-01 on a pool of its own, so that strangers' requests never wait with or delay the work. It goes
 * on while the worker has lost its lock: what is published is in the database.
 */
export async function startResponder(
  listen: Listen,
  database: { url: string | undefined; isPooled: boolean },
  published: Published,
  log: Logger,
): Promise<Http01Responder> {
  const sql = connect({
    databaseUrl: database.url,
    isPooled: database.isPooled,
    name: 'pgacme http-01',
    max: 2,
  });
  try {
    const responder = await startHttp01({
      ...listen,
      lookUp: async (token) => {
        const here = published.get(token);
        if (here !== undefined) return here;
        const [row] = await sql<
          { value: string | null }[]
        >`select acme.http01_response(${token}) as value`;
        return row?.value ?? null;
      },
      onError: (error) => log.warn({ err: error }, 'http-01 look-up failed'),
    });
    return {
      ...responder,
      async stop() {
        await responder.stop();
        await sql.end({ timeout: 2 });
      },
    };
  } catch (error) {
    await sql.end({ timeout: 2 });
    throw error;
  }
}
