import { isIPv6, type Socket } from 'node:net';

/** Unfinished requests of one address, above what a proxy has at once: it sends each request head in one piece. */
const MAX_OF_ADDRESS = 100;
/** Of all addresses: well below the connections that the server accepts. */
const MAX = 500;

/**
 * Connections that have not sent a whole request head. One too many ends the oldest: a client that sends its
 * head at once is never the oldest for long, one that sends it byte by byte is. A connection that waits for its
 * answer does not count, and it has one request only.
 */
export class Unfinished {
  /** Each with its address, the oldest first. */
  readonly #sockets = new Map<Socket, string>();
  readonly #ofAddress = new Map<string, Set<Socket>>();

  /** Counts a new connection until its request head is complete. */
  connected(socket: Socket): void {
    socket.once('close', () => this.#remove(socket));
    this.#add(socket);
  }

  /** Its request head is complete. */
  completed(socket: Socket): void {
    this.#remove(socket);
  }

  #add(socket: Socket): void {
    const address = network(socket.remoteAddress ?? '');
    const those = this.#ofAddress.get(address) ?? new Set();
    this.#ofAddress.set(address, those.add(socket));
    this.#sockets.set(socket, address);
    if (those.size > MAX_OF_ADDRESS) first(those)?.destroy();
    else if (this.#sockets.size > MAX) first(this.#sockets.keys())?.destroy();
  }

  #remove(socket: Socket): void {
    const address = this.#sockets.get(socket);
    if (address === undefined) return;
    this.#sockets.delete(socket);
    const those = this.#ofAddress.get(address);
    those?.delete(socket);
    if (those?.size === 0) this.#ofAddress.delete(address);
  }
}

/** Whoever has one IPv6 address has all of its /64. */
function network(address: string): string {
  if (!isIPv6(address) || address.startsWith('::')) return address;
  return address.split(':', 4).join(':');
}

function first<T>(those: Iterable<T>): T | undefined {
  for (const one of those) return one;
  return undefined;
}
