import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { migrate } from '../../src/db/migrate/migrate.ts';
import { startPostgres } from '../../src/local/postgres.ts';
import { databaseOn } from '../helpers/own-database.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { live, macs } from '../helpers/secrets/life.ts';
import {
  bytesIn,
  dumpOf,
  filesOf,
  postgresPrograms,
  rowsOf,
  storeUncompressed,
} from '../helpers/secrets/places.ts';
import { plant } from '../helpers/secrets/planted.ts';
import { found } from '../helpers/secrets/search.ts';
import { testFolder } from '../helpers/sweep.ts';
import { worldWith } from '../helpers/world.ts';

test('no private key, HMAC key, passphrase or sealing key is in a database, a dump, the WAL, the queue, a log, or printed', async () => {
  const folder = await testFolder('secrets');
  const bin = postgresPrograms();
  const log: string[] = [];
  const server = await startPostgres({
    dir: join(folder, 'postgres'),
    persistent: false,
    // Every statement with its parameters, and all changes ever made.
    settings: { log_statement: 'all', wal_keep_size: '1GB', fsync: 'off' },
    log: (line) => log.push(line),
    ...(bin === undefined ? {} : { postgresBin: bin }),
  });
  onTestFinished(() => server.stop());
  const { host, password } = new URL(server.url);
  const databases = [
    await databaseOn({ hosts: host, password }),
    await databaseOn({ hosts: host, password }),
  ] as const;
  for (const { url, sql } of databases) {
    await migrate({ databaseUrl: url });
    await storeUncompressed(sql);
  }
  const eab = Object.fromEntries(
    Object.entries(macs).map(([kid, mac]) => [kid, mac.toString('base64url')]),
  );
  const pebble = await pebbleForTests({ eab });
  const [world, other] = [
    await worldWith(pebble, databases[0]),
    await worldWith(pebble, databases[1]),
  ];
  const { secrets, lines, printed } = await live(world, other, {
    folder: join(folder, 'given'),
    httpPort: pebble.httpPort,
  });

  const planted = await plant(databases[0]);
  await world.sql`checkpoint`;
  const places: Record<string, Buffer> = {
    ...(await filesOf(join(folder, 'postgres'))),
    ...(await dumpOf(bin, server.url)),
    'every row': Buffer.from(
      (await Promise.all(databases.map(({ sql }) => rowsOf(sql)))).join('\n'),
    ),
    "PostgreSQL's log": Buffer.from(log.join('\n')),
    "a worker's log": Buffer.from([...lines, ...planted.lines].join('\n')),
    'what was printed': Buffer.from([...printed, ...planted.lines].join('\n')),
  };
  const all = found({ ...planted.keys, ...secrets }, places);
  // What is looked for would be found: each form in each place that can have it.
  const cannotHave: Record<string, readonly string[]> = {
    raw: ["a worker's log", 'what was printed'],
    'a long text': ['the files of PostgreSQL', 'the WAL'],
  };
  for (const secret of Object.keys(planted.keys)) {
    for (const place of Object.keys(places)) {
      if (cannotHave[secret]?.includes(place) === true) continue;
      expect(all).toContainEqual({ secret, place });
    }
  }
  // And these secrets, for the commands were given them in files.
  const given = found(secrets, { given: await bytesIn(join(folder, 'given')) });
  expect(given.map(({ secret }) => secret).sort()).toEqual([
    'the HMAC key of kid-1',
    'the HMAC key of kid-2',
    'the key of a certificate that was adopted',
    'the key of a certificate that was given to revoke',
    'the passphrase',
  ]);
  // The logs have the statements and steps that carried what was sealed.
  expect(log.join('\n')).toContain('eab_hmac');
  expect(lines.join('\n')).toContain('worker started');
  expect(Object.keys(secrets)).toHaveLength(11);

  expect(all.filter(({ secret }) => secret in secrets)).toEqual([]);
}, 180_000);
