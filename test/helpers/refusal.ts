import postgres from 'postgres';

/** The error of a query that must fail in PostgreSQL; throws where it succeeds or fails otherwise. */
export async function refusal(query: PromiseLike<unknown>): Promise<postgres.PostgresError> {
  try {
    await query;
  } catch (error) {
    if (error instanceof postgres.PostgresError) return error;
    throw error;
  }
  throw new Error('It was not refused.');
}
