import { once } from 'node:events';
import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What befalls each chunk of data, as probabilities. */
export interface Faults {
  /** Both sides are cut off. */
  cut?: number;
  /** From now on nothing is forwarded on this connection, and both sides stay open. */
  freeze?: number;
  /** It comes late, up to `delayMs`. */
  delay?: number;
  delayMs?: number;
  /** It comes in two pieces. */
  split?: number;
}

/** Data on its way. */
export interface Chunk {
  to: 'client' | 'server';
  data: Buffer;
}

/** A TCP proxy of a bad network. */
export interface RoughProxy {
  port: number;
  /** What it has done so far. */
  readonly done: Readonly<Record<'cut' | 'frozen' | 'delayed' | 'split', number>>;
  /** From now on; connections that are frozen stay so. */
  setFaults(faults: Faults): void;
  /** Freezes all connections that are open, or those that a chunk matches from now on; new ones work. */
  freeze(match?: (chunk: Chunk) => boolean): void;
  /** A chunk that matches next is lost, and its connection is cut. */
  loseOnce(match: (chunk: Chunk) => boolean): void;
  /** Cuts all connections, takes no more, and ends. */
  stop(): Promise<void>;
}

/** Starts one on 127.0.0.1. The same seed draws the same faults, as far as chunks come in the same order. */
export async function startRoughProxy(
  target: { host: string; port: number },
  { seed = 1, faults: first = {} }: { seed?: number; faults?: Faults } = {},
): Promise<RoughProxy> {
  const random = drawsOf(seed);
  const done = { cut: 0, frozen: 0, delayed: 0, split: 0 };
  const links = new Set<Link>();
  const losing: ((chunk: Chunk) => boolean)[] = [];
  const freezing: ((chunk: Chunk) => boolean)[] = [];
  let faults = first;

  /** What is to become of a chunk. */
  async function fate(link: Link, chunk: Chunk): Promise<Buffer[] | undefined> {
    const { cut = 0, freeze = 0, delay: late = 0, delayMs = 200, split = 0 } = faults;
    const lost = losing.findIndex((match) => match(chunk));
    if (lost !== -1) losing.splice(lost, 1);
    if (lost !== -1 || random() < cut) {
      done.cut += 1;
      link.cut();
    } else if (freezing.some((match) => match(chunk)) || random() < freeze) {
      done.frozen += 1;
      link.freeze();
    }
    if (link.isOver) return undefined;
    if (random() < late) {
      done.delayed += 1;
      await delay(random() * delayMs);
    }
    if (chunk.data.length < 2 || random() >= split) return [chunk.data];
    done.split += 1;
    const at = 1 + Math.floor(random() * (chunk.data.length - 1));
    return [chunk.data.subarray(0, at), chunk.data.subarray(at)];
  }

  const server = createServer({ noDelay: true }, (client) => {
    const link = new Link(client, connectTo({ ...target, noDelay: true }), fate);
    links.add(link);
    client.once('close', () => links.delete(link));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    done,
    setFaults: (next) => void (faults = next),
    freeze(match) {
      if (match !== undefined) freezing.push(match);
      else for (const link of links) link.freeze();
    },
    loseOnce: (match) => void losing.push(match),
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const link of links) link.cut();
      await closed;
    },
  };
}

type Fate = (link: Link, chunk: Chunk) => Promise<Buffer[] | undefined>;

/** One connection through the proxy. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  isOver = false;

  constructor(client: Socket, server: Socket, fate: Fate) {
    this.#client = client;
    this.#server = server;
    this.#pump(client, server, 'server', fate);
    this.#pump(server, client, 'client', fate);
  }

  #pump(from: Socket, to: Socket, name: Chunk['to'], fate: Fate): void {
    // In order, however long each takes.
    let before = Promise.resolve();
    from.on('data', (data: Buffer) => {
      before = before.then(async () => {
        for (const piece of (await fate(this, { to: name, data })) ?? []) {
          if (this.isOver) return;
          to.write(piece);
          await delay(0);
        }
      });
    });
    from.once('close', () => {
      // A frozen connection tells neither side that the other one has gone.
      void before.then(() => this.isOver || to.end());
    });
    from.on('error', () => this.isOver || to.destroy());
  }

  cut(): void {
    this.isOver = true;
    this.#client.destroy();
    this.#server.destroy();
  }

  freeze(): void {
    this.isOver = true;
    this.#client.pause();
    this.#server.pause();
  }
}

/** The URL of the same thing through the proxy. */
export function through({ port }: RoughProxy, url: string): string {
  const rough = new URL(url);
  rough.hostname = '127.0.0.1';
  rough.port = String(port);
  return rough.href;
}

/** Where a URL leads. */
export function addressOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

/** mulberry32: numbers in [0, 1) that the seed decides. */
function drawsOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
