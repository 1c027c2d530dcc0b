/**
 * pgacme as a library: the worker inside your own process, and the migrations. The bare protocol
 * client is `pgacme/acme`.
 */
export { type MigrateOptions, type Migrated, migrate } from './db/migrate/migrate.ts';
export { PgacmeError } from './errors.ts';
export { startWorker, type Worker, type WorkerOptions } from './worker.ts';
