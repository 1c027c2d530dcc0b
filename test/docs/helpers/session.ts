import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { inject } from 'vitest';
import { removeFolder } from '../../../src/local/os-user.ts';
import { freePort } from '../../../src/local/ports.ts';
import { findPsql } from '../../../src/local/psql.ts';
import { which } from '../../../src/local/run.ts';
import type { SandboxPorts } from '../../../src/quickstart/sandbox.ts';
import { psql } from '../../helpers/psql.ts';
import { testFolder } from '../../helpers/sweep.ts';
import { until } from '../../helpers/until.ts';
import { difference } from './compare.ts';
import type { Block, Item } from './document.ts';
import { Places } from './places.ts';
import { Shell } from './shell.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const CLI = join(ROOT, 'dist/cli.js');
// How the developer's own pgacme and databases are set up is none of a test's business.
const FOREIGN = /^(PGACME_(?!PEBBLE$)|PG|DATABASE_URL$)/;
const SANDBOX = '.pgacme/sandbox';

/** One reader who follows documents from an empty database and an empty folder. */
export class Session {
  readonly #sql: postgres.Sql;
  readonly #dir: string;
  readonly #databaseUrl: string;
  readonly #ports: SandboxPorts;
  readonly #places: Places;
  readonly #shell: Shell;
  #login: string | undefined;
  #served: Server | undefined;

  private constructor(
    dir: string,
    databaseUrl: string,
    ports: SandboxPorts,
    env: Record<string, string>,
  ) {
    this.#dir = dir;
    this.#databaseUrl = databaseUrl;
    this.#ports = ports;
    this.#sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined });
    this.#shell = new Shell(dir, env);
    this.#places = new Places({ databaseUrl, ports, webRoot: join(dir, 'www') });
  }

  /** An empty database, an empty folder, and the programs in PATH. The CA is the sandbox that README.md starts. */
  static async begin(): Promise<Session> {
    if (!existsSync(CLI)) throw new Error(`${CLI} is not built; run npm run build first.`);
    const dir = await testFolder('docs');
    await mkdir(join(dir, 'www'));
    // What an example imports is what this package has installed.
    await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
    const url = new URL(inject('postgresUrl'));
    url.pathname = `t_docs_${randomBytes(4).toString('hex')}`;
    await administer((sql) => sql`create database ${sql(url.pathname.slice(1))}`);
    const [postgresPort, pebblePort, http] = [await freePort(), await freePort(), await freePort()];
    const ports = { postgres: postgresPort, pebble: pebblePort, http };
    return new Session(dir, url.href, ports, await environment(dir));
  }

  /** Follows one item of a document. Throws when a block fails or prints something else. */
  async follow(item: Item): Promise<void> {
    if (item.kind === 'heading') return;
    if (item.kind === 'block') return this.#block(item.block);
    switch (item.order) {
      case 'stop':
        return this.#stop(false);
      case 'serve':
        return this.#serve(join(this.#dir, item.value));
      case 'stand-in':
        return this.#standIn(item.value);
    }
  }

  /** Ends everything and removes it. */
  async end(): Promise<void> {
    try {
      await this.#stop(true);
    } finally {
      await this.#sql.end({ timeout: 1 });
      const name = new URL(this.#databaseUrl).pathname.slice(1);
      const { logins } = this.#places;
      await administer(async (sql) => {
        await sql`drop database if exists ${sql(`${name}_moved`)} with (force)`;
        await sql`drop database if exists ${sql(name)} with (force)`;
        for (const login of logins) await sql`drop role if exists ${sql(login)}`;
      });
      await removeFolder(join(this.#dir, SANDBOX, 'postgres'));
      await rm(this.#dir, { recursive: true, force: true });
    }
  }

  async #standIn(server: string): Promise<void> {
    const ca = await readFile(join(this.#dir, SANDBOX, 'pebble/ca.pem'), 'utf8');
    await this.#sql`
      update acme.server
         set directory_url = ${`https://127.0.0.1:${this.#ports.pebble}/dir`}, ca_bundle = ${ca}
       where name = ${server}`;
  }

  async #block(block: Block): Promise<void> {
    const text = this.#places.real(block.text);
    if (block.file !== undefined) {
      await writeFile(join(this.#dir, block.file), `${text}\n`);
    } else if (block.skip === undefined && block.language === 'sql') {
      await this.#checked(block, () => this.#psql(block, text));
    } else if (block.skip === undefined && block.language === 'sh') {
      await this.#checked(block, () => this.#sh(block, text));
    }
  }

  /** Compares what is shown, where something is; until it is as shown, where the document says so. */
  async #checked(block: Block, run: () => Promise<string>): Promise<void> {
    const once = async () => {
      const output = this.#places.shown(await run());
      const what = block.shown === undefined ? undefined : difference(block.shown, output);
      if (what !== undefined) throw new Error(what);
      return true;
    };
    if (!block.untilShown) await once();
    else await until(once, { what: 'it prints what is shown', timeoutMs: 20_000, everyMs: 100 });
  }

  async #psql(block: Block, text: string): Promise<string> {
    this.#login = block.login ?? this.#login;
    const login = this.#login;
    const { stdout, stderr, code } = await psql(this.#databaseUrl, text, {
      args: ['-c', `\\cd ${this.#dir}`],
      ...(login === undefined ? {} : { role: this.#places.login(login) }),
    });
    const errors = stderr.replace(/^psql:<stdin>:\d+: /gm, '');
    if ((code === 0) === block.fails) {
      throw new Error(`psql ended with ${String(code)}:\n${stdout}${errors}`);
    }
    return stdout + errors;
  }

  async #sh(block: Block, text: string): Promise<string> {
    const { background, toTheEnd } = block;
    if (background !== undefined) return this.#shell.background(text, background, toTheEnd);
    const { output, code } = await this.#shell.run(text);
    if ((code === 0) === block.fails) throw new Error(`It ended with ${String(code)}:\n${output}`);
    return output;
  }

  /** A web server's folder, for what is published by hand. */
  async #serve(folder: string): Promise<void> {
    const server = createServer((request, response) => {
      readFile(join(folder, new URL(request.url ?? '/', 'http://localhost').pathname)).then(
        (body) => response.end(body),
        () => response.writeHead(404).end(),
      );
    });
    this.#served = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#ports.http, '127.0.0.1', resolve);
    });
  }

  async #stop(all: boolean): Promise<void> {
    this.#served?.close();
    this.#served = undefined;
    await this.#shell.stop(all);
  }
}

async function environment(dir: string): Promise<Record<string, string>> {
  const bin = join(dir, 'bin');
  await mkdir(bin);
  const program = async (name: string, command: string) => {
    await writeFile(join(bin, name), `#!/bin/sh\nexec ${command} "$@"\n`);
    await chmod(join(bin, name), 0o755);
  };
  await program('pgacme', `${process.execPath} ${CLI}`);
  const found = await findPsql();
  await program('psql', found.psql);
  // A machine with nothing but Node has no openssl; a stand-in then makes the same keys and CSRs.
  if ((await which('openssl')) === undefined) {
    const standIn = fileURLToPath(new URL('openssl.js', import.meta.url));
    await program('openssl', `${process.execPath} ${standIn}`);
  }
  const own = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || FOREIGN.test(name) ? [] : [[name, value] as const],
  );
  return {
    ...Object.fromEntries(own),
    ...found.env,
    // What Pebble does by chance would now and then print something else.
    PEBBLE_AUTHZREUSE: '0',
    PEBBLE_WFE_NONCEREJECT: '0',
    PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`,
  };
}

async function administer(work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(inject('postgresUrl'), { max: 1, onnotice: () => undefined });
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}
