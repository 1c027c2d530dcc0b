// The installed package with one Node.js: it migrates, a worker has a certificate issued, and status
// tells of it.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import postgres from 'postgres';
import { makeCsr } from '../../dist/x509/index.js';
import { run } from './package.mjs';

const NAME = 'packed.example.org';

/** Throws where something is not as it shall be; `say` is told what was seen. */
export async function smoke({ node, folder, databaseUrl, pebble, say }) {
  const cli = join(folder, 'node_modules/pgacme/dist/cli.js');
  // What the package starts by itself shall be this Node.js, too.
  const env = { DATABASE_URL: databaseUrl, PATH: `${dirname(node)}:${process.env.PATH}` };
  const pgacme = (...args) => run(folder, node, [cli, ...args], env).trim();
  say(`Node.js ${run(folder, node, ['--version']).trim()}, pgacme ${pgacme('--version')}`);
  say(pgacme('migrate'));
  expect(pgacme('migrate'), 'Nothing to do');

  const sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined });
  const worker = spawn(node, [cli, 'worker'], {
    env: {
      ...process.env,
      ...env,
      PGACME_SECRET_KEY: randomBytes(32).toString('base64'),
      PGACME_HTTP01_LISTEN: `127.0.0.1:${pebble.httpPort}`,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(worker, 'exit');
  try {
    await sql`
      insert into acme.server (name, directory_url, ca_bundle)
      values ('pebble', ${pebble.directoryUrl}, ${pebble.caPem})`;
    await sql`insert into acme.account (name, server, terms_agreed) values ('main', 'pebble', true)`;
    const { pem } = await makeCsr({ names: [NAME] });
    const [csr] = await sql`insert into acme.csr (pem) values (${pem}) returning id`;
    const [row] = await sql`select state, reason from acme.wait(${csr.id})`;
    expect(`${row.state} ${row.reason ?? ''}`, 'issued');
    const status = pgacme('status');
    expect(status, /issued +1$/m);
    expect(status, / running /);
  } finally {
    worker.kill('SIGTERM');
    await sql.end();
  }
  const [code, signal] = await ended;
  expect(`the worker ended with ${code ?? signal}`, 'the worker ended with 0');
  say('A worker had a certificate issued, and status shows it.');
}

function expect(text, wanted) {
  if (wanted instanceof RegExp ? wanted.test(text) : text.includes(wanted)) return;
  throw new Error(`This is without ${wanted}:\n${text}`);
}
