import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { makeLogger } from '../../src/log.ts';
import { Published } from '../../src/solver/published.ts';
import { startResponder } from '../../src/worker/responder.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { add } from '../helpers/state/index.ts';

const TOKEN = 'a-token-of-more-than-22-characters';

const STARTING = 'SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0';

/** A way to PostgreSQL on which the first connections hear what it says while it restarts. */
async function startingAtFirst(
  url: string,
  times: number,
): Promise<{ url: string; tries(): number }> {
  const { hostname, port } = new URL(url);
  let tries = 0;
  const gate = createServer((client) => {
    client.on('error', () => undefined);
    tries++;
    if (tries <= times) {
      const head = Buffer.from('E\0\0\0\0');
      head.writeInt32BE(STARTING.length + 4, 1);
      client.once('data', () => client.end(Buffer.concat([head, Buffer.from(STARTING)])));
      return;
    }
    const server = connect(Number(port), hostname);
    server.on('error', () => client.destroy());
    server.on('close', () => client.destroy());
    client.on('close', () => server.destroy());
    client.pipe(server).pipe(client);
  });
  gate.listen(0, '127.0.0.1');
  await once(gate, 'listening');
  onTestFinished(() => void gate.close());
  const through = new URL(url);
  through.host = `127.0.0.1:${(gate.address() as AddressInfo).port}`;
  return { url: through.href, tries: () => tries };
}

test('a CA that asks while PostgreSQL is away gets its answer once it is back', async () => {
  const database = await freshDatabase();
  await add(database.sql, 'record', {
    tenant: 'shop',
    solver: 'http',
    identifier: 'a.example.org',
    type: 'http-01',
    method: 'responder',
    token: TOKEN,
    value: 'the answer',
    state: 'published',
  });
  const { url } = await database.login('acme_worker');
  const starting = await startingAtFirst(url, 3);
  const responder = await startResponder(
    { host: '127.0.0.1', port: 0 },
    { url: starting.url, isPooled: false },
    new Published(),
    makeLogger('silent'),
  );
  try {
    const path = `/.well-known/acme-challenge/${TOKEN}`;
    const answer = await fetch(`http://127.0.0.1:${responder.port}${path}`);
    expect(await answer.text()).toBe('the answer');
    expect(starting.tries()).toBeGreaterThan(3);
  } finally {
    await responder.stop();
  }
});
