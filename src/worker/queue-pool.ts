import pg from 'pg';

type Connected = Parameters<pg.Pool['connect']>[0];

/**
 * The queue's connections. graphile-worker's listener, alone in taking one by callback, may give a broken
 * one back twice; the pool then throws where nobody catches it, which ends the process. Here once is enough.
 */
export class QueuePool extends pg.Pool {
  override connect(): Promise<pg.PoolClient>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.PoolClient> | undefined {
    if (callback === undefined) return super.connect();
    super.connect((error, client, release) => {
      // With an error comes nothing to give back: a pool that has ended passes no `release` at all.
      if (client === undefined) return callback(error, client, release);
      let isReleased = false;
      callback(error, client, (why) => {
        if (isReleased) return;
        isReleased = true;
        release(why);
      });
    });
    return undefined;
  }
}
