import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, which } from '../../../src/local/run.ts';
import type { TestPebble } from '../../helpers/pebble.ts';

/** A client that Debian has; the path is where it keeps things. */
export type ClientName = 'certbot' | 'lego' | 'dehydrated';

/** Another client, run against a Pebble of the tests, with a folder of its own. */
export interface Client {
  folder: string;
  /** Registers an account; lego, which only does so with a certificate, orders one for `name`. */
  register(name: string): Promise<void>;
  /** Orders a certificate; with certbot and lego only. */
  order(names: readonly string[], csrFile?: string): Promise<void>;
}

/** undefined, with the reason printed: the program is not installed here. */
export async function client(
  name: ClientName,
  pebble: TestPebble,
  folder: string,
): Promise<Client | undefined> {
  const program = await which(name);
  if (program === undefined) {
    process.stdout.write(
      `Not run: ${name} is not installed (.ci/install installs it on Debian).\n`,
    );
    return undefined;
  }
  await mkdir(folder, { recursive: true });
  const ca = join(folder, 'trusted.pem');
  await writeFile(ca, pebble.caPem);
  const call = async (args: readonly string[]) => {
    const result = await run(program, args, {
      cwd: folder,
      env: { ...process.env, REQUESTS_CA_BUNDLE: ca, LEGO_CA_CERTIFICATES: ca, HOME: folder },
      timeoutMs: 60_000,
    });
    if (result.code !== 0) throw new Error(`${name} failed: ${result.stdout}${result.stderr}`);
  };
  const server = ['--server', pebble.directoryUrl];
  switch (name) {
    case 'certbot': {
      const etc = join(folder, 'etc');
      const places = [
        '--config-dir',
        etc,
        '--work-dir',
        join(folder, 'work'),
        '--logs-dir',
        join(folder, 'log'),
      ];
      const common = [...places, ...server, '-n', '--agree-tos'];
      return {
        folder: etc,
        register: () => call(['register', ...common, '-m', 'ops@example.org', '--no-eff-email']),
        order: (names) =>
          call([
            'certonly',
            ...common,
            '--standalone',
            '--http-01-port',
            String(pebble.httpPort),
            ...names.flatMap((each) => ['-d', each]),
          ]),
      };
    }
    case 'lego': {
      const http = ['--http', '--http.port', `127.0.0.1:${String(pebble.httpPort)}`];
      const common = [
        '--path',
        folder,
        ...server,
        '--email',
        'ops@example.org',
        '--accept-tos',
        ...http,
      ];
      const order = (names: readonly string[], csrFile?: string) =>
        call([
          ...common,
          ...(csrFile === undefined ? names.flatMap((each) => ['-d', each]) : ['--csr', csrFile]),
          'run',
        ]);
      return { folder, register: (each) => order([each]), order };
    }
    case 'dehydrated': {
      const config = join(folder, 'config');
      await writeFile(
        config,
        `CA="${pebble.directoryUrl}"\nBASEDIR="${folder}"\nWELLKNOWN="${folder}"\nCONTACT_EMAIL=ops@example.org\nCURL_OPTS="--cacert ${ca}"\n`,
      );
      return {
        folder,
        register: () => call(['-f', config, '--register', '--accept-terms']),
        order: () => Promise.reject(new Error('dehydrated is only made to register.')),
      };
    }
  }
}
