import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { makeTlsCertificate } from '../../../src/x509/index.ts';
import { Atlas } from './atlas.ts';
import { type AcmeRecord, recordOf } from './record.ts';

/** Chooses answers by what was asked and what the CA said (status, Location, problem are there). */
type Match = (record: Readonly<AcmeRecord>) => boolean;

/** A proxy that writes down what the CA saw, and can lose or hold back the CA's answers. */
export interface RecordingProxy {
  directoryUrl: string;
  /** The CA of the proxy's own HTTPS. */
  caPem: string;
  /** Every request in the order in which they came, also those that are not answered yet. */
  records: readonly AcmeRecord[];
  /** The CA acts and answers; the client sees a cut connection. For the next `times` matches (1). */
  dropAnswers(match: Match, times?: number): void;
  /** Answers that match wait for this before they are delivered, until the returned function is called. */
  holdAnswers(match: Match, wait: (record: Readonly<AcmeRecord>) => Promise<unknown>): () => void;
  /** Cuts all connections. */
  stop(): Promise<void>;
}

interface Answer {
  status: number;
  headers: string[];
  body: Buffer;
}

/**
 * Starts a proxy on 127.0.0.1 in front of a CA that builds its URLs from the Host header, as Pebble
 * does: the header is kept, so that all URLs name the proxy, and signatures over them hold. A request
 * that was read is always sent on, also when its client is gone by then.
 */
export async function startRecordingProxy(ca: {
  directoryUrl: string;
  caPem: string;
}): Promise<RecordingProxy> {
  const upstream = new URL(ca.directoryUrl);
  const agent = new Agent({ keepAlive: true, ca: ca.caPem });
  const tls = await makeTlsCertificate({ names: ['localhost'], ips: ['127.0.0.1'] });
  const atlas = new Atlas(upstream.pathname);
  const records: AcmeRecord[] = [];
  const drops: { match: Match; left: number }[] = [];
  const holds = new Set<{ match: Match; wait: (record: AcmeRecord) => Promise<unknown> }>();

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await bodyOf(incoming);
    const record = recordOf(incoming.method ?? '', incoming.url ?? '', body);
    atlas.locate(record);
    records.push(record);
    const answer = await ask(upstream, agent, incoming, body);
    record.answeredAt = Date.now();
    atlas.learn(record, answer.status, valueOf(answer.headers, 'location'), answer.body);
    for (const hold of holds) if (hold.match(record)) await hold.wait(record);
    const drop = drops.find(({ match, left }) => left > 0 && match(record));
    if (drop !== undefined) {
      drop.left -= 1;
      outgoing.destroy();
      return;
    }
    outgoing.once('finish', () => (record.isDelivered = !incoming.socket.destroyed));
    outgoing.writeHead(answer.status, answer.headers).end(answer.body);
  }

  const server = createServer(
    { key: tls.keyPem, cert: tls.certPem, keepAliveTimeout: 60_000 },
    (incoming, outgoing) => {
      // The CA is away, or the client was killed while it spoke: to either side a cut connection.
      serve(incoming, outgoing).catch(() => outgoing.destroy());
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    directoryUrl: `https://127.0.0.1:${port}${upstream.pathname}`,
    caPem: tls.caPem,
    records,
    dropAnswers(match, times = 1) {
      drops.push({ match, left: times });
    },
    holdAnswers(match, wait) {
      const hold = { match, wait };
      holds.add(hold);
      return () => holds.delete(hold);
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      agent.destroy();
    },
  };
}

const HOP_BY_HOP = /^(connection|keep-alive|transfer-encoding|content-length)$/i;

async function ask(
  { hostname, port }: URL,
  agent: Agent,
  { method, url, rawHeaders }: IncomingMessage,
  body: Buffer,
): Promise<Answer> {
  const headers = withoutHopByHop(rawHeaders);
  if (method === 'POST') headers.push('content-length', String(body.length));
  const outgoing = request({ hostname, port, path: url, method, headers, agent });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const answer = await bodyOf(response);
  return {
    status: response.statusCode ?? 0,
    headers: withoutHopByHop(response.rawHeaders),
    body: answer,
  };
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Names and values in turn, those left out that are about one connection only. */
function withoutHopByHop(raw: readonly string[]): string[] {
  return raw.filter((_, i) => !HOP_BY_HOP.test(raw[i - (i % 2)] ?? ''));
}

function valueOf(raw: readonly string[], name: string): string | undefined {
  const at = raw.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === name);
  return at === -1 ? undefined : raw[at + 1];
}
