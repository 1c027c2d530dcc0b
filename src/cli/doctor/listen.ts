import { randomBytes } from 'node:crypto';
import { get } from 'node:http';
import { createServer } from 'node:net';
import type { Listen } from '../../config.ts';
import { type Check, type Finding, ok, problem } from './finding.ts';

/** The address at which http-01 is to be answered: free, or answered by a worker of ours. */
export const listenCheck: Check = {
  name: 'Listen addresses',
  async run({ config: { http01Listen } }) {
    if (http01Listen === undefined) return [];
    const where = `PGACME_HTTP01_LISTEN (${http01Listen.host}:${http01Listen.port})`;
    const code = await bindError(http01Listen);
    return [await finding(where, code, http01Listen)];
  },
};

async function finding(where: string, code: string | undefined, listen: Listen): Promise<Finding> {
  switch (code) {
    case undefined:
      return ok(`${where} is free for a worker to listen on; none does on this machine.`);
    case 'EADDRINUSE':
      return (await isOurs(listen))
        ? ok(`${where} is answered by a worker.`)
        : problem(
            `${where} is taken by another program. End that, or give the worker another port and have the web server pass /.well-known/acme-challenge/ on to it.`,
          );
    case 'EACCES':
      return problem(
        `${where} may not be listened on by this user. Give the worker CAP_NET_BIND_SERVICE, or a port above 1023.`,
      );
    case 'EADDRNOTAVAIL':
      return problem(`${where} is no address of this machine. Use 0.0.0.0, or one of its own.`);
    default:
      return problem(`${where} cannot be listened on (${code}). Check the host.`);
  }
}

function bindError({ host, port }: Listen): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** Our responder answers a token that nobody published in a way of its own (src/solver/http01.ts). */
function isOurs({ host, port }: Listen): Promise<boolean> {
  const address = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  const token = randomBytes(32).toString('base64url');
  return new Promise((resolve) => {
    const path = `/.well-known/acme-challenge/${token}`;
    const request = get({ host: address, port, path, timeout: 3000, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body = (body + text).slice(0, 200);
      });
      response.on('end', () =>
        resolve(response.statusCode === 404 && body === 'Nothing is published here.\n'),
      );
      response.on('error', () => resolve(false));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}
