/** A difference between the records and what is true now that is meant. */
export interface Intended {
  /** Why it is right that this changed. */
  reason: string;
  /** What it was, in the text of a record; with the flag g, and m where it has lines. */
  match: RegExp;
  /** What it is now, as in String.replace. A line that becomes empty goes. */
  becomes: string;
}

/**
 * Each is applied to the records, one after the other, before they are compared; one that matches nothing fails. When
 * the records are written again, the list is emptied.
 */
export const INTENDED: readonly Intended[] = [];
