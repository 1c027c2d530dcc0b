import { randomBytes } from 'node:crypto';
import type { SandboxPorts } from '../../../src/quickstart/sandbox.ts';

/** What a document's addresses are in this run. */
export interface Addresses {
  /** Superuser's URL of the document's database. */
  databaseUrl: string;
  /** The ports of the sandbox. */
  ports: SandboxPorts;
  /** The folder that stands for the web server's. */
  webRoot: string;
}

/**
 * Puts what this run has in the place of what the documents name: addresses, ports, and login roles,
 * which belong to the whole cluster and so need names of their own.
 */
export class Places {
  readonly #pairs: readonly (readonly [shown: string, real: string])[];
  readonly #database: string;
  readonly #superuser: string;
  readonly #logins = new Set<string>();
  readonly #suffix = `_${randomBytes(3).toString('hex')}`;

  constructor({ databaseUrl, ports, webRoot }: Addresses) {
    const database = new URL(databaseUrl);
    this.#database = database.pathname.slice(1);
    this.#superuser = database.username;
    const { postgres, pebble, http } = ports;
    this.#pairs = [
      [
        'npm ci && npm run sandbox',
        `pgacme sandbox --postgres-port ${postgres} --pebble-port ${pebble} --http-port ${http}`,
      ],
      ['postgres://postgres@localhost:5432/app', databaseUrl],
      ['localhost:5432/app', `${database.host}${database.pathname}`],
      // Another database, for what moves; it goes with the first one.
      [
        'postgres://postgres@localhost:5432/moved',
        databaseUrl.replace(database.pathname, `${database.pathname}_moved`),
      ],
      ['database moved', `database ${this.#database}_moved`],
      ['localhost:5432', database.host],
      ['https://127.0.0.1:14000', `https://127.0.0.1:${pebble}`],
      ['127.0.0.1:5002', `127.0.0.1:${http}`],
      ['0.0.0.0:80', `127.0.0.1:${http}`],
      ['PORT=80', `PORT=${http}`],
      ['/var/www/html', webRoot],
    ];
  }

  /** The login roles that were made so far, by their real names. */
  get logins(): string[] {
    return [...this.#logins].map((login) => this.login(login));
  }

  /** The real name of a login that a document made, or of `postgres`. */
  login(shown: string): string {
    if (shown === 'postgres') return this.#superuser;
    return this.#logins.has(shown) ? `${shown}${this.#suffix}` : shown;
  }

  /** A document's text as it can be run here. */
  real(text: string): string {
    for (const [, login] of text.matchAll(/\bcreate role (\w+)\s+login\b/g)) {
      if (login !== undefined) this.#logins.add(login);
    }
    let result = text;
    for (const [shown, real] of this.#pairs) result = result.replaceAll(shown, real);
    for (const login of this.#logins) {
      result = result.replace(new RegExp(`\\b${login}\\b`, 'g'), this.login(login));
    }
    return result;
  }

  /** What a run printed, as a document would show it. */
  shown(text: string): string {
    let result = text.replaceAll(this.#suffix, '');
    for (const [shown, real] of this.#pairs) result = result.replaceAll(real, shown);
    return result.replaceAll(this.#database, 'app');
  }
}
