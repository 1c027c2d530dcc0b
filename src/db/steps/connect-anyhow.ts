import { connect, type ConnectOptions, type Sql } from './connect.ts';
import { settingsFor } from './settings.ts';

/** Opens a pool as {@link connect} does, for a command that does not know whether its URL leads through a pooler. */
export async function connectAnyhow(options: ConnectOptions): Promise<Sql> {
  return connect({ ...options, settings: await settingsFor(options.databaseUrl) });
}
