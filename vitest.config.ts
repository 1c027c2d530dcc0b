import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    pool: 'forks',
    // More than there are cores where these are CI's two: much of a test waits for a CA or for somebody's death.
    maxWorkers: 3,
    // What hangs is found; a machine that is busy with other things is no reason to fail.
    testTimeout: 180_000,
    hookTimeout: 120_000,
  },
});
