import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const sqlFolder = new URL('../../sql/', import.meta.url);

/** SQL that is applied as one, and the hash by which it is known to have been. */
export interface SqlFile {
  name: string;
  text: string;
  sha256: string;
}

/**
 * The files of sql/migrations in their order. Their schemas are made beforehand, by whoever may (see
 * roles.ts), so that the lines that make them are left out of the text; the hash is the file's.
 */
export async function readMigrations(): Promise<SqlFile[]> {
  const files = await readFiles(new URL('migrations/', sqlFolder));
  return files.map((file) => ({
    ...file,
    text: file.text.replace(/^create schema acme(_private)?;\n/gm, ''),
  }));
}

/** The files of sql/api as one: they are replaced together, so that no half of them is ever in force. */
export async function readApi(workerSchema: string): Promise<SqlFile> {
  const files = await readFiles(new URL('api/', sqlFolder));
  const text = files
    .map((file) => file.text)
    .join('\n')
    .replaceAll('worker_schema.', `"${workerSchema}".`);
  return { name: 'api', text, sha256: hash(text) };
}

/** A migration of graphile-worker, as the package has it beside its code. */
export interface QueueMigration {
  number: number;
  isBreaking: boolean;
  text: string;
}

/** graphile-worker's own migrations for a queue in this schema, to be shown; it runs them itself. */
export async function readQueueMigrations(schema: string): Promise<QueueMigration[]> {
  const manifest = createRequire(import.meta.url).resolve('graphile-worker/package.json');
  const files = await readFiles(new URL('sql/', pathToFileURL(manifest)));
  return files.map(({ name, text }) => ({
    number: Number.parseInt(name, 10),
    isBreaking: text.startsWith('--! breaking'),
    text: text.replaceAll(/:GRAPHILE_WORKER_SCHEMA\b/g, `"${schema}"`),
  }));
}

async function readFiles(folder: URL): Promise<SqlFile[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(name, folder), 'utf8');
      return { name, text, sha256: hash(text) };
    }),
  );
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
