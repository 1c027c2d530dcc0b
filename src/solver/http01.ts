import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Unfinished } from './unfinished.ts';

/** Where to listen, and how to find the answer to a token. */
export interface Http01Options {
  host: string;
  port: number;
  /** The key authorization of a token that is published for this host; null: unknown. */
  lookUp: (token: string, host: string) => Promise<string | null>;
  /** Told once for each look-up that failed. */
  onError?: (error: unknown) => void;
}

/** A running responder. */
export interface Http01Responder {
  host: string;
  port: number;
  stop(): Promise<void>;
}

/** Look-ups under way at once; whoever comes beyond that is asked to come back. */
const MAX_LOOK_UPS = 32;

/**
 * RFC 8555 §8.3: the path is fixed, the token is base64url with at least 128 bits, so at least 22
 * characters. Everything else gets 404 without a query.
 */
const CHALLENGE_PATH = /^\/\.well-known\/acme-challenge\/([A-Za-z0-9_-]{22,512})$/;

/**
 * Answers http-01 validation requests (RFC 8555 §8.3) for the orders of all workers, from the rows
 * they published. Anyone on the internet may ask: nothing of the request is echoed, the number of
 * look-ups under way and of requests that are sent slowly is bounded, and equal look-ups are made once.
 */
export async function startHttp01(options: Http01Options): Promise<Http01Responder> {
  const underWay = new Map<string, Promise<string | null>>();
  const unfinished = new Unfinished();
  const server = createServer(
    {
      requestTimeout: 10_000,
      headersTimeout: 5000,
      maxHeaderSize: 8192,
      // How often the two time limits are enforced: each 30 s unless set.
      connectionsCheckingInterval: 1000,
    },
    (request, response) => {
      unfinished.completed(request.socket);
      respond(request, response).catch((error: unknown) => {
        options.onError?.(error);
        if (!response.headersSent) send(response, 503);
        else response.destroy();
      });
    },
  );
  server.maxConnections = 1000;
  server.on('connection', (socket) => unfinished.connected(socket));

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const { path, host } = target(request);
    const token = CHALLENGE_PATH.exec(path)?.[1];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (token === undefined || !isRead) return send(response, 404);
    const key = `${token} ${host}`;
    let lookUp = underWay.get(key);
    if (lookUp === undefined) {
      if (underWay.size >= MAX_LOOK_UPS) return send(response, 503);
      lookUp = options.lookUp(token, host).finally(() => underWay.delete(key));
      underWay.set(key, lookUp);
    }
    const value = await lookUp;
    if (value === null) return send(response, 404);
    send(response, 200, value);
  }

  await listen(server, options);
  const { address, port } = server.address() as AddressInfo;
  return {
    host: address,
    port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** RFC 9112 §3.2.2: the absolute form (`GET http://name/path`) is a request like another, and its host counts. */
const ABSOLUTE_FORM = /^https?:\/\/([^/?#@]*)([^?]*)/i;

/** What is asked for: the path without its query, and the host in lower case without port or final dot. */
function target({ url = '', headers }: IncomingMessage): { path: string; host: string } {
  const absolute = ABSOLUTE_FORM.exec(url);
  const [path = ''] = absolute === null ? url.split('?', 1) : [absolute[2]];
  const authority = absolute?.[1] ?? headers.host ?? '';
  const name = /^\[([^\]]*)\]|^[^:]*/.exec(authority.slice(0, 300));
  const host = (name?.[1] ?? name?.[0] ?? '').toLowerCase();
  return { path, host: host.endsWith('.') ? host.slice(0, -1) : host };
}

const TEXTS: Readonly<Record<number, string>> = {
  404: 'Nothing is published here.\n',
  503: 'Too busy; come back in a second.\n',
};

function send(response: ServerResponse, status: 200 | 404 | 503, value?: string): void {
  const body = value ?? TEXTS[status] ?? '';
  response
    .writeHead(status, {
      'content-type':
        value === undefined ? 'text/plain; charset=utf-8' : 'application/octet-stream',
      'content-length': Buffer.byteLength(body),
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      // A CA asks once. Kept open, a connection could begin another request with the bytes of this one.
      connection: 'close',
      ...(status === 503 ? { 'retry-after': '1' } : {}),
    })
    .end(body);
}

function listen(server: Server, { host, port }: Http01Options): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
