/**
 * Named places where the tests end a process to see that no work is lost: on either side of each
 * request to an ACME server and of each commit. In production they do nothing.
 */
let onCrashPoint: ((name: string) => void) | undefined;

/** A place where a process may die: `sending` and `sent` of a request, `committing` and `committed`. */
export function crashPoint(name: string): void {
  onCrashPoint?.(name);
}

/** Tests say what happens at crash points. */
export function setCrashPoints(act: (name: string) => void): void {
  onCrashPoint = act;
}
