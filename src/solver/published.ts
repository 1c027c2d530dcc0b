/**
 * What this process has published and the database has stored: most validation requests ask the very
 * worker that is waiting for them, and need no query. Whatever is not here is in the database.
 */
export class Published {
  readonly #values = new Map<string, { value: string; uses: number }>();

  /** The key authorization of a token. */
  get(token: string): string | undefined {
    return this.#values.get(token)?.value;
  }

  /** Keeps it until the function that it returns is called. */
  keep(token: string, value: string): () => void {
    const kept = this.#values.get(token) ?? { value, uses: 0 };
    kept.uses += 1;
    this.#values.set(token, kept);
    return () => {
      kept.uses -= 1;
      if (kept.uses === 0) this.#values.delete(token);
    };
  }
}
