import postgres from 'postgres';
import { PgacmeError } from '../../src/errors.ts';

/** The error of a query that must fail in PostgreSQL; throws where it succeeds or fails otherwise. */
export function refusal(query: PromiseLike<unknown>): Promise<postgres.PostgresError> {
  return errorOf(query, postgres.PostgresError);
}

/** The error of pgacme's own that this work must end with; throws where it succeeds or fails otherwise. */
export function pgacmeRefusal(work: PromiseLike<unknown>): Promise<PgacmeError> {
  return errorOf(work, PgacmeError);
}

async function errorOf<E extends Error>(
  work: PromiseLike<unknown>,
  kind: abstract new (...args: never[]) => E,
): Promise<E> {
  try {
    await work;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error('It was not refused.');
}
