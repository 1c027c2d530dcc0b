import { createServer } from 'node:net';

// Below the range that Linux and macOS give to outgoing connections: a "free" port from that range
// can be taken by any connection before the server that shall have it starts, and again at each restart.
const FIRST = 20_000;
const LAST = 32_000;

/** A TCP port on 127.0.0.1 that nobody listens on now; another process may still be quicker. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (await isFree(port)) return port;
  }
  return bind(0);
}

/** Whether this process could listen on the TCP port of 127.0.0.1 now. */
export async function isFree(port: number): Promise<boolean> {
  return bind(port).then(
    () => true,
    () => false,
  );
}

function bind(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => {
        resolve(bound);
      });
    });
  });
}
