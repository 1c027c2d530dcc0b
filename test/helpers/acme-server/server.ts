import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeTlsCertificate } from '../../../src/x509/index.ts';
import { Authority } from './certificates.ts';
import { carryOut, type Rendered } from './dispatch.ts';
import { answerWithFault, type Fault, type FaultHandle, Faults, type Seen } from './faults.ts';
import { peek } from './jws.ts';
import { type AcmeServerOptions, defaultOptions } from './options.ts';
import { pathOf, resourceAt } from './routes.ts';
import { type Account, type Ca, type Resource, Store } from './store.ts';

/** A TLS certificate as PEM: what clients trust, the chain, and the key. */
export type TlsCertificate = Awaited<ReturnType<typeof makeTlsCertificate>>;

/** How to start a server; the port is a free one unless given. */
export interface AcmeServerStart {
  readonly port?: number;
  readonly httpPort?: number;
  readonly tls?: TlsCertificate;
  readonly options?: Partial<AcmeServerOptions>;
}

/** Starts an RFC 8555 server on 127.0.0.1, its control surface in the same process. */
export async function startAcmeServer(start: AcmeServerStart = {}): Promise<AcmeServer> {
  const options = { ...defaultOptions(), ...start.options };
  if (start.httpPort !== undefined) options.httpPort = start.httpPort;
  const now = () => Date.now() + options.clockOffsetMs;
  const [tls, authority] = await Promise.all([
    start.tls ?? makeTlsCertificate({ names: ['localhost'], ips: ['127.0.0.1'] }),
    Authority.create(now),
  ]);
  const server = createServer({ cert: tls.certPem, key: tls.keyPem });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(start.port ?? 0, '127.0.0.1', resolve);
  });
  return new AcmeServer(server, options, authority, tls);
}

/** A running test CA: what it saw, what it shall do wrong, and how it behaves. */
export class AcmeServer implements Ca {
  readonly options: AcmeServerOptions;
  readonly authority: Authority;
  readonly store = new Store();
  /** The TLS certificate, to start the next server with; `caPem` is what clients trust. */
  readonly tls: TlsCertificate;
  readonly port: number;
  /** All requests in the order of their arrival. */
  readonly seen: Seen[] = [];
  readonly #server: Server;
  readonly #faults = new Faults();
  readonly #stop = new AbortController();
  readonly #background = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];
  #stopped: Promise<void> | undefined;

  constructor(
    server: Server,
    options: AcmeServerOptions,
    authority: Authority,
    tls: TlsCertificate,
  ) {
    this.#server = server;
    this.options = options;
    this.authority = authority;
    this.tls = tls;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (request, response) => {
      const served = this.#serve(request, response).catch((error: unknown) => {
        response.destroy();
        throw error;
      });
      this.#track(served);
    });
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get directoryUrl(): string {
    return this.link('directory');
  }

  /** What a client must trust to speak to this server. */
  get caPem(): string {
    return this.tls.caPem;
  }

  now(): number {
    return Date.now() + this.options.clockOffsetMs;
  }

  link(resource: Resource, ...path: string[]): string {
    return `https://127.0.0.1:${this.port}${pathOf(resource, ...path)}`;
  }

  /** Makes something go wrong at a resource, or at any (`*`); once unless `times` says more. */
  on(resource: Resource | '*', fault: Fault): FaultHandle {
    return this.#faults.add(resource, fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** How many requests came for a resource. */
  count(resource: Resource): number {
    return this.seen.filter((each) => each.resource === resource).length;
  }

  /** An account, to look at or to change behind its owner's back. */
  account(url: string): Account {
    const found = [...this.store.accounts.values()].find((each) => each.url === url);
    if (!found) throw new Error(`There is no account ${url}.`);
    return found;
  }

  /** As a server that lost its accounts: their kids are unknown (accountDoesNotExist). */
  forgetAccounts(): void {
    this.store.accounts.clear();
  }

  /** As a server that lost its orders: 404 for them and all that belongs to them. */
  forgetOrders(): void {
    const { orders, authorizations, challenges, certificates } = this.store;
    for (const map of [orders, authorizations, challenges, certificates]) map.clear();
  }

  later(ms: number, work: () => Promise<void> | void): Promise<void> {
    const timer = ms > 0 ? sleep(ms, undefined, { signal: this.signal }) : Promise.resolve();
    const done = timer.then(work);
    this.#track(done);
    return done;
  }

  /** Closes every connection and waits for what runs; throws what failed out of sight. */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#end());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
    await Promise.all(this.#background);
    if (this.#failures.length > 0) throw new AggregateError(this.#failures, 'The test CA failed.');
  }

  #track(work: Promise<void>): void {
    const settled = work
      .catch((error: unknown) => {
        if (!this.signal.aborted) this.#failures.push(error);
      })
      .finally(() => this.#background.delete(settled));
    this.#background.add(settled);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client that goes away in the middle is nothing to this server.
    const body = await text(request).catch(() => undefined);
    if (body === undefined) return;
    const { method = '', url: path = '', headers } = request;
    const { resource } = resourceAt(path);
    const seen: Seen = { method, path, resource, headers, ...peek(body), at: Date.now() };
    this.seen.push(seen);
    const fault = this.#faults.strike(seen);
    const rendered = await (fault
      ? answerWithFault(this, fault, () => this.#carryOut(request, body), response)
      : this.#carryOut(request, body));
    if (!rendered || response.destroyed) return;
    seen.status = rendered.status;
    this.#send(response, rendered, method === 'HEAD', fault?.cut === 'mid-body');
  }

  async #carryOut(request: IncomingMessage, body: string): Promise<Rendered> {
    try {
      return await carryOut(this, request, body);
    } catch (error) {
      // A bug of this server: the client sees a 500, and stop() throws it.
      this.#failures.push(error);
      return { status: 500, headers: {}, body: Buffer.from(String(error)) };
    }
  }

  #send(response: ServerResponse, rendered: Rendered, head: boolean, cut: boolean): void {
    const headers = Object.entries(rendered.headers).flatMap(([name, value]) =>
      value === undefined || value.length === 0 ? [] : [[name, value] as const],
    );
    for (const [name, value] of headers) response.setHeader(name, value);
    response.setHeader('date', new Date(this.now()).toUTCString());
    if (rendered.status !== 204) response.setHeader('content-length', rendered.body.length);
    response.writeHead(rendered.status);
    if (!cut) return void response.end(head ? undefined : rendered.body);
    const half = rendered.body.subarray(0, Math.floor(rendered.body.length / 2));
    response.write(half, () => response.destroy());
  }
}
