import * as fc from 'fast-check';

/**
 * Runs a property; a failure says how to see it again. PGACME_TEST_SEED is what such a failure printed:
 * the seed, then for a shrunk example its path, then for commands their replay path.
 */
export async function assertProperty<T>(
  property: fc.IAsyncProperty<T>,
  parameters: fc.Parameters<T>,
): Promise<void> {
  const { seed, path } = replay();
  const details = await fc.check(property, {
    ...parameters,
    ...(seed === undefined ? {} : { seed }),
    ...(path === undefined ? {} : { path }),
  });
  if (!details.failed) return;
  const text = details.counterexample === null ? '' : fc.stringify(details.counterexample);
  const commands = /replayPath="([^"]*)"/.exec(text)?.[1];
  const again = [String(details.seed), details.counterexamplePath, commands]
    .filter((part) => part !== undefined && part !== null)
    .join(' ');
  throw new Error(
    `After ${String(details.numRuns)} runs. Run it again with PGACME_TEST_SEED="${again}"\n${text.slice(0, 8000)}`,
    { cause: details.errorInstance },
  );
}

/** The parts of PGACME_TEST_SEED. */
export function replay(): { seed?: number; path?: string; commands?: string } {
  const text = process.env['PGACME_TEST_SEED'] ?? '';
  if (text === '') return {};
  const [seed, path, commands] = text.split(' ');
  if (!/^-?\d+$/.test(seed ?? '')) {
    throw new Error(`PGACME_TEST_SEED is "${text}"; set it to what a failed run printed.`);
  }
  return {
    seed: Number(seed),
    ...(path === undefined ? {} : { path }),
    ...(commands === undefined ? {} : { commands }),
  };
}

/** How long a failure is made smaller. */
const SHRINK_MS = 60_000;

/** A run for a property; a minute after the first failure all further tries to shrink it pass at once. */
export function shrinkingForAMinute<A extends unknown[]>(
  run: (...args: A) => Promise<void>,
): (...args: A) => Promise<void> {
  let failedAt: number | undefined;
  return async (...args) => {
    if (failedAt !== undefined && performance.now() - failedAt > SHRINK_MS) return;
    try {
      await run(...args);
    } catch (error) {
      failedAt ??= performance.now();
      throw error;
    }
  };
}
