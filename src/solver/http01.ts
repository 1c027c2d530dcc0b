import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Where to listen, and how to find the answer to a token. */
export interface Http01Options {
  host: string;
  port: number;
  /** The key authorization of a published token; null: unknown. */
  lookUp: (token: string) => Promise<string | null>;
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
 * look-ups under way is bounded, and equal ones are made once.
 */
export async function startHttp01(options: Http01Options): Promise<Http01Responder> {
  const underWay = new Map<string, Promise<string | null>>();
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 1000, maxHeaderSize: 8192 },
    (request, response) => {
      respond(request, response).catch((error: unknown) => {
        options.onError?.(error);
        if (!response.headersSent) send(response, 503);
        else response.destroy();
      });
    },
  );
  server.maxConnections = 1000;

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const [path = ''] = (request.url ?? '').split('?', 1);
    const token = CHALLENGE_PATH.exec(path)?.[1];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (token === undefined || !isRead) return send(response, 404);
    let lookUp = underWay.get(token);
    if (lookUp === undefined) {
      if (underWay.size >= MAX_LOOK_UPS) return send(response, 503);
      lookUp = options.lookUp(token).finally(() => underWay.delete(token));
      underWay.set(token, lookUp);
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
