// Prepares the demonstration of docker-compose.yml: the sealing key, Pebble's TLS certificate and
// configuration, the workers' login, a server and an account. What is there already stays as it is.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../dist/db/steps/connect.js';
import { makeTlsCertificate } from '../dist/x509/index.js';

const {
  DATABASE_URL: databaseUrl,
  PGACME_SECRET_KEY: givenKey,
  WORKER_PASSWORD: password = 'demo',
  KEY_FOLDER: keyFolder = '/var/lib/pgacme/key',
  PEBBLE_FOLDER: pebbleFolder = '/var/lib/pgacme/pebble',
  PEBBLE_HOST: host = 'pebble',
  PEBBLE_PORT: port = '14000',
  HTTP01_PORT: http01Port = '5002',
} = process.env;

const say = (text) => process.stdout.write(`${text}\n`);
const secret = (file, text) => writeFileSync(file, text, { mode: 0o600 });

const keyFile = join(keyFolder, 'secret-key');
if (givenKey) {
  secret(keyFile, `${givenKey}\n`);
} else if (!existsSync(keyFile)) {
  secret(keyFile, `${randomBytes(32).toString('base64')}\n`);
  say(`Made a sealing key: ${keyFile}`);
}

const inPebble = (name) => join(pebbleFolder, name);
if (!existsSync(inPebble('ca.pem'))) {
  const made = await makeTlsCertificate({ names: [host, 'localhost'], days: 3650 });
  secret(inPebble('key.pem'), made.keyPem);
  writeFileSync(inPebble('cert.pem'), made.certPem);
  // Last: when it is there, the others are.
  writeFileSync(inPebble('ca.pem'), made.caPem);
  say(`Made a TLS certificate for ${host}`);
}
const pebble = {
  listenAddress: `0.0.0.0:${port}`,
  certificate: inPebble('cert.pem'),
  privateKey: inPebble('key.pem'),
  httpPort: Number(http01Port),
  tlsPort: 5001,
  retryAfter: { authz: 0, order: 0 },
};
writeFileSync(inPebble('pebble.json'), JSON.stringify({ pebble }, null, 2));

const sql = connect({ databaseUrl, name: 'pgacme demo', max: 1 });
try {
  const [login] = await sql`
    select format('create role pgacme_worker login password %L in role acme_worker, acme_reader',
                  ${password}::text) as statement
     where not exists (select from pg_roles where rolname = 'pgacme_worker')`;
  if (login) await sql.unsafe(login.statement);
  await sql`
    insert into acme.server (name, directory_url, ca_bundle, max_orders_in_flight)
    values ('pebble', ${`https://${host}:${port}/dir`}, ${readFileSync(inPebble('ca.pem'), 'utf8')}, 8)
    on conflict (name) do update set ca_bundle = excluded.ca_bundle`;
  await sql`
    insert into acme.account (name, server, terms_agreed)
    values ('demo', 'pebble', true)
    on conflict (name) do nothing`;
  say('The login pgacme_worker, the server pebble and the account demo are there.');
} finally {
  await sql.end();
}
