/** Where Pebble's two programs are: paths, or images where `docker` runs them. */
export interface PebbleBinaries {
  pebble: string;
  /** The DNS and challenge test server that comes with it, when it is there. */
  challtestsrv?: string;
  /** The docker command, when they are images. */
  docker?: string;
  /** Where they were found, for people: `PATH`, `PGACME_PEBBLE`, `the cache` … */
  source: string;
  /** `2.4`, `2.5` (2.5 to 2.9) or `2.10` (or newer); found by what the program can do. */
  version: PebbleVersion;
}

/** Steps in what Pebble can do; Debian's builds do not tell their version (`-version` prints dev). */
export type PebbleVersion = '2.4' | '2.5' | '2.10';
