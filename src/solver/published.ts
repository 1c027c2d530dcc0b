/**
 * What this process has published and the database has stored: most validation requests ask the very
 * worker that is waiting for them, and need no query. Whatever is not here is in the database.
 */
export class Published {
  readonly #values = new Map<string, { value: string; uses: number }>();

  /** The key authorization of a token that is published for this identifier: two CAs may give the same token. */
  get(token: string, identifier: string): string | undefined {
    return this.#values.get(`${token} ${identifier}`)?.value;
  }

  /** Keeps it until the function that it returns is called. */
  keep(token: string, identifier: string, value: string): () => void {
    const key = `${token} ${identifier}`;
    const kept = this.#values.get(key);
    // Another CA's for the same name: the database has both, and the CA asks again.
    if (kept !== undefined && kept.value !== value) return () => undefined;
    const now = kept ?? { value, uses: 0 };
    now.uses += 1;
    this.#values.set(key, now);
    return () => {
      now.uses -= 1;
      if (now.uses === 0) this.#values.delete(key);
    };
  }
}
