const SHORTEST_MS = 5;
const LONGEST_MS = 3000;

/**
 * How long a server takes, learned from what it did: a poll that comes too early costs a request, one
 * that comes too late costs time. Each first poll that hits shortens the guess a little, each that
 * misses lengthens it more, so that about one in four is too early, whether the server takes 5 ms or 3 s.
 */
export class Pace {
  #guess = 20;

  /** Milliseconds to wait before poll number n (from 0), or undefined: longer than it is worth to stay. */
  delay(n: number): number | undefined {
    const delay = n === 0 ? this.#guess : Math.max(SHORTEST_MS, (this.#guess / 2) * 2 ** (n - 1));
    return delay > LONGEST_MS ? undefined : delay;
  }

  /** Poll number n was the one that found an end. */
  found(n: number): void {
    const next = n === 0 ? this.#guess * 0.9 : this.#guess * 1.4;
    this.#guess = Math.min(Math.max(next, SHORTEST_MS), LONGEST_MS);
  }
}
