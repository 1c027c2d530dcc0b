import { Socket } from 'node:net';

/** The address to connect to, as the driver has read it from URL and environment. */
interface Address {
  host: readonly string[];
  port: readonly number[];
  path: string | false | undefined;
}

/**
 * The sockets of one pool. The driver bounds how long connecting and signing in take, and nothing after
 * that: on a connection that is neither open nor closed a query would wait for ever.
 */
export class Lines {
  readonly #sockets = new Set<Socket>();

  /** Connects one, as the driver would; it takes it from there. */
  readonly open = (address: object): Socket => {
    const { host, port, path } = address as Address;
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (typeof path === 'string') return socket.connect(path);
    // Where the driver looks for the name to verify a certificate against.
    Object.assign(socket, { host: host[0] });
    return socket.connect(port[0] ?? 5432, host[0] ?? 'localhost');
  };

  /** How much each has read so far; below TLS, where it is used. */
  read(): Map<Socket, number> {
    return new Map([...this.#sockets].map((socket) => [socket, socket.bytesRead]));
  }

  /** Destroys those from which nothing has come since. What waits on them fails with this error. */
  destroySilent(since: Map<Socket, number>, error: Error): void {
    for (const [socket, bytes] of since) if (socket.bytesRead === bytes) socket.destroy(error);
  }

  /** Destroys all. */
  destroy(error?: Error): void {
    for (const socket of this.#sockets) socket.destroy(error);
  }
}
