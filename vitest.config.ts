import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes minutes begins first, so that no core waits for the last file alone. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const folders = ['/test/crash/', '/test/e2e/', '/test/cli/'];
    const rank = ({ moduleId }: TestSpecification) => {
      const at = folders.findIndex((folder) => moduleId.includes(folder));
      return at < 0 ? folders.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    // More than there are cores where these are CI's two: much of a test waits for a CA or for somebody's death.
    maxWorkers: 3,
    // What hangs is found; a machine that is busy with other things is no reason to fail.
    testTimeout: 180_000,
    hookTimeout: 120_000,
  },
});
