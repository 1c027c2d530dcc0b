import { createRequire } from 'node:module';

// package.json lies one folder above this file both in src/ and, after the build, in dist/.
const manifest: unknown = createRequire(import.meta.url)('../package.json');

/** The version of pgacme, as its package.json says (semantic versioning), such as `1.2.3`. */
export const version: string =
  typeof manifest === 'object' &&
  manifest !== null &&
  'version' in manifest &&
  typeof manifest.version === 'string'
    ? manifest.version
    : '0.0.0';
