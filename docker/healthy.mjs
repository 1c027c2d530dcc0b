// The health check of the image: 0 when the database has seen the worker of this container within 30 s.
// Its login reads acme.worker_status, so it is a member of acme_reader beside acme_worker.
import { hostname } from 'node:os';
import { connect } from '../dist/db/steps/connect.js';

const databaseUrl = process.env.DATABASE_URL || undefined;
const sql = connect({ databaseUrl, name: 'pgacme health', max: 1 });
try {
  // Every container has a host name of its own.
  const [row] = await sql`
    select state
      from acme.worker_status
     where host = ${hostname()}
     order by id desc
     limit 1`;
  const state = row?.state ?? 'not in acme.worker_status';
  process.stdout.write(`The worker on ${hostname()} is ${state}.\n`);
  process.exitCode = state === 'running' ? 0 : 1;
} catch (error) {
  process.stdout.write(`${error.message || error.code}\n`);
  process.exitCode = 1;
} finally {
  await sql.end({ timeout: 2 });
}
