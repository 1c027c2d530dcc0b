/**
 * How long long tests are: `PGACME_TEST_SCALE`, 1 unless set, also below 1. Counts shrink and grow with
 * it; what kinds of fault a test tries does not.
 */
export const scale = readScale(process.env['PGACME_TEST_SCALE']);

/** A count of about `base` at scale 1, never below `least`. */
export function scaled(base: number, least = 1): number {
  return Math.max(least, Math.round(base * scale));
}

function readScale(text: string | undefined): number {
  if (text === undefined || text === '') return 1;
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`PGACME_TEST_SCALE is ${text}; set it to a number above 0.`);
}
