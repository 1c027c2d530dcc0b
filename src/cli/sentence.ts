/** A text that somebody else worded, ended as a sentence is. */
export function asSentence(text: string): string {
  return /[.!?]\s*$/.test(text) ? text.trimEnd() : `${text}.`;
}
