import type postgres from 'postgres';
import { pemShapedLikeCsr } from './pem.ts';
import { type FreshDatabase, freshDatabase } from './postgres.ts';

/** A database with server `ca`, default account `main`, an application's login, and no worker. */
export interface Shop {
  database: FreshDatabase;
  /** Superuser. */
  sql: postgres.Sql;
  /** A login that is a member of acme_app. */
  app: postgres.Sql;
  /** Inserts a CSR as the application and returns its id; no worker could issue it. */
  insert(columns?: Record<string, string>): Promise<string>;
  /** Its row of csr_status, as the application sees it. */
  status(id: string): Promise<Record<string, unknown>>;
  /** Acts on the requests for a csr, as the step `attend` of a worker does. */
  attend(id: string): Promise<void>;
  /** What is in the queue, oldest first. */
  jobs(): Promise<Job[]>;
  clearJobs(): Promise<void>;
}

/** A job: its task, the row it names, and its key. */
export interface Job {
  task: string;
  key: string | null;
  payload: { kind?: string; id?: number };
}

/** Opens a shop, in a database of its own that is dropped after the test file unless one is given. */
export async function openShop(given?: FreshDatabase): Promise<Shop> {
  const database = given ?? (await freshDatabase());
  const { sql } = database;
  const app = await database.as('acme_app', { max: 4 });
  const clearJobs = async () => {
    await sql`select acme_worker.complete_jobs(array(select id from acme_worker.jobs))`;
  };
  await sql`insert into acme.server (name, directory_url) values ('ca', 'https://ca.example.org/dir')`;
  await sql`insert into acme.account (name, server) values ('main', 'ca')`;
  await clearJobs();
  return {
    database,
    sql,
    app,
    async insert(columns = {}) {
      const row = { pem: pemShapedLikeCsr(), ...columns };
      const [made] = await app<[{ id: string }]>`insert into acme.csr ${app(row)} returning id`;
      return made.id;
    },
    async status(id) {
      const [row] = await app<
        [Record<string, unknown>]
      >`select * from acme.csr_status where id = ${id}`;
      return row;
    },
    async attend(id) {
      await sql`select acme_private.attend(null, ${id}, 0)`;
    },
    jobs: () => sql<Job[]>`
      select p.task_identifier as task, j.key, j.payload
        from acme_worker._private_jobs j
        join acme_worker.jobs p using (id)
       order by j.id`,
    clearJobs,
  };
}
