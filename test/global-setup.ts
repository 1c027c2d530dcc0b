import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { migrate } from '../src/db/migrate/migrate.ts';
import { findPebble } from '../src/local/pebble.ts';
import { startPostgres } from '../src/local/postgres.ts';
import { findPsql } from '../src/local/psql.ts';
import { sweep, testFolder } from './helpers/sweep.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Superuser's URL of the one PostgreSQL of this test run. */
    postgresUrl: string;
    /** The migrated database that `freshDatabase()` clones; nobody may connect to it. */
    templateDatabase: string;
  }
}

/**
 * Starts one PostgreSQL for the run and makes the migrated template. `PGACME_TEST_DATABASE_URL` (a
 * superuser's) uses a server that runs already, `PGACME_TEST_PG_BIN` other programs than the embedded ones.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await sweep();
  // Fetched once here rather than by several test files at a time; who needs one that is not to be
  // had fails with its sentence.
  const warm = Promise.allSettled([findPebble(), findPsql()]);
  const server = await serverForRun();
  try {
    const template = `pgacme_template_${randomBytes(4).toString('hex')}`;
    await makeTemplate(server.url, template);
    await warm;
    project.provide('postgresUrl', server.url);
    project.provide('templateDatabase', template);
    return async () => {
      await dropTemplate(server.url, template);
      await server.stop();
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function serverForRun(): Promise<{ url: string; stop(): Promise<void> }> {
  const url = process.env['PGACME_TEST_DATABASE_URL'];
  if (url !== undefined && url !== '') return { url, stop: () => Promise.resolve() };
  const bin = process.env['PGACME_TEST_PG_BIN'];
  return startPostgres({
    dir: await testFolder('postgres'),
    persistent: false,
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' },
    ...(bin === undefined || bin === '' ? {} : { postgresBin: bin }),
  });
}

async function makeTemplate(serverUrl: string, template: string): Promise<void> {
  const sql = postgres(serverUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql`create database ${sql(template)}`;
    const url = new URL(serverUrl);
    url.pathname = template;
    await migrate({ databaseUrl: url.href });
    // A session in the template would make every clone wait.
    await sql`alter database ${sql(template)} with is_template true allow_connections false`;
  } finally {
    await sql.end();
  }
}

async function dropTemplate(serverUrl: string, template: string): Promise<void> {
  const sql = postgres(serverUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql`alter database ${sql(template)} with is_template false`;
    await sql`drop database ${sql(template)} with (force)`;
  } finally {
    await sql.end();
  }
}
