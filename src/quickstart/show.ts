/** Where the quickstart says what it does. */
export interface Show {
  line(text?: string): void;
  /** Replaced by what comes next; for terminals. */
  progress(text: string): void;
}
