import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    pool: 'forks',
    // Real parts run beside each file: more workers than this only wait for each other.
    maxWorkers: 2,
    // What hangs is found; a machine that is busy with other things is no reason to fail.
    testTimeout: 180_000,
    hookTimeout: 120_000,
  },
});
