import type postgres from 'postgres';
import { all, type Columns, set } from './rows.ts';

/** The database was set up under another name (or as `recorded` has it), and is a frozen copy here. */
export async function frozenCopy(
  sql: postgres.ISql,
  recorded: Columns<'installation'> = { database_name: 'original' },
): Promise<void> {
  await set(sql, 'installation', all, recorded);
}

/** The database is the one that was set up. Not adopt_database(): that leaves an event and jobs. */
export async function noCopy(sql: postgres.ISql): Promise<void> {
  await set(sql, 'installation', all, { database_name: sql`current_database()` });
}
