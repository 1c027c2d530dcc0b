import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const sqlFolder = new URL('../../../sql/', import.meta.url);

/** SQL that is applied as one, and the hash by which it is known to have been. */
export interface SqlFile {
  name: string;
  text: string;
  sha256: string;
}

/**
 * What makes the tables: sql/tables as one, named `tables`, then each file of sql/migrations in their order. The
 * schemas are made beforehand, by whoever may (see roles.ts), so that the lines that make them are left out of the text;
 * the hash is the files'.
 */
export async function readMigrations(): Promise<SqlFile[]> {
  const tables = joined('tables', await readFiles(new URL('tables/', sqlFolder)));
  const files = [tables, ...(await readFiles(new URL('migrations/', sqlFolder)))];
  return files.map((file) => ({
    ...file,
    text: file.text.replace(/^create schema acme(_private)?;\n/gm, ''),
  }));
}

/** The folders of sql/api, in the order in which their files are applied. */
export const concepts = [
  'shared',
  'notification',
  'work',
  'renewal',
  'limit',
  'server',
  'tenant',
  'solver',
  'csr',
  'account',
  'order',
  'authorization',
  'certificate',
  'operation',
  'attention',
] as const;

/**
 * sql/api as one, so that no half of it is ever in force: the functions of each concept, then all views, which call
 * functions, then all triggers, then the grants.
 */
export async function readApi(workerSchema: string): Promise<SqlFile> {
  const api = new URL('api/', sqlFolder);
  const folders = await Promise.all(
    concepts.map((concept) => readFiles(new URL(`${concept}/`, api))),
  );
  const grants = (await readFiles(api)).filter(({ name }) => name === 'grants.sql');
  const rounds = [
    (name: string) => name !== 'views.sql' && name !== 'triggers.sql',
    (name: string) => name === 'views.sql',
    (name: string) => name === 'triggers.sql',
  ];
  const files = [
    ...rounds.flatMap((round) =>
      folders.flatMap((folder) => folder.filter(({ name }) => round(name))),
    ),
    ...grants,
  ];
  const data = await readFile(new URL('data/documented_features.json', sqlFolder), 'utf8');
  const { text } = joined('api', files);
  const whole = text
    .replaceAll('worker_schema.', `"${workerSchema}".`)
    .replaceAll(':documented_features', () => literal(data));
  return { name: 'api', text: whole, sha256: hash(whole) };
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

function joined(name: string, files: readonly SqlFile[]): SqlFile {
  const text = files.map((file) => file.text).join('\n');
  return { name, text, sha256: hash(text) };
}

/** A text as a literal that means the same with every setting of standard_conforming_strings. */
function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
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
