/** Two looks are at least this far apart, however often one is asked for. */
const PAUSE_MS = 1000;

/**
 * A claim that anybody can make, checked before it is believed: many at once cost one look, and one more for
 * those that came meanwhile, since it may be the one that is true.
 */
export class GatedProof {
  readonly #isTrue: () => Promise<boolean>;
  #isLooking = false;
  #next: (() => void) | undefined;

  constructor(isTrue: () => Promise<boolean>) {
    this.#isTrue = isTrue;
  }

  /** Calls `then` once the claim has proved true. */
  ask(then: () => void): void {
    this.#next = then;
    if (!this.#isLooking) void this.#look();
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    const then = this.#next;
    this.#next = undefined;
    // (Where it cannot be looked at, the connection is broken, and the next one begins with a look of its own.)
    if (await this.#isTrue().catch(() => false)) then?.();
    setTimeout(() => {
      this.#isLooking = false;
      if (this.#next !== undefined) void this.#look();
    }, PAUSE_MS).unref();
  }
}
