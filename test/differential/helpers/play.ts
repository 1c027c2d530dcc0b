import postgres from 'postgres';
import { makeCsr } from '../../../src/x509/index.ts';
import { collect } from './coverage.ts';
import { type Mode, MODES } from './modes.ts';
import { Recorder } from './record.ts';
import { openStage, type Stage, type StageOptions, type Tenant } from './stage.ts';

type Columns = Record<string, unknown>;

/** How long a script lets pass. */
export const TIMES = {
  'half a minute': 30,
  'ten minutes': 660,
  'two hours': 7000,
  'a day': 100_000,
  'a month': 31 * 86_400,
  'two months': 62 * 86_400,
} as const;

/** A script at work: each verb is one step, after which the worker does what is due, and what changed is written down. */
export class Play {
  readonly stage: Stage;
  readonly #recorder: Recorder;
  #csrs = 0;

  constructor(stage: Stage) {
    this.stage = stage;
    this.#recorder = new Recorder(stage);
  }

  /** A step: what is done in it, by anybody. A refusal is written down by its SQLSTATE. */
  async step(what: string, act: () => PromiseLike<unknown>): Promise<void> {
    let told = what;
    try {
      await act();
    } catch (error) {
      if (!(error instanceof postgres.PostgresError)) throw error;
      told = `${what}: refused, ${error.code}`;
    }
    await this.stage.settle();
    await this.#recorder.step(told);
  }

  text(): string {
    return this.#recorder.text();
  }

  // What applications do.

  async insert(tenant: Tenant, names: string[], columns: Columns = {}): Promise<string> {
    return this.insertPem(tenant, (await makeCsr({ names })).pem, names, columns);
  }

  async insertPem(
    tenant: Tenant,
    pem: string,
    names: string[],
    columns: Columns = {},
  ): Promise<string> {
    const label = `c${String(++this.#csrs)}`;
    const { csrs, tenants } = this.stage;
    const sql = tenants[tenant];
    await this.step(
      `${tenant} inserts ${label} for ${names.join(', ')}${told(columns)}`,
      async () => {
        const [row] = await sql<[{ id: string }]>`
        insert into acme.csr ${sql({ pem, ...columns } as Record<string, string>)} returning id`;
        csrs.set(label, { label, id: row.id, pem, tenant, names });
      },
    );
    return label;
  }

  /** Asks for a csr, by a function of one argument that is its id. */
  ask(label: string, verb: 'retry' | 'renew' | 'cancel'): Promise<void> {
    const { id, sql } = this.#csr(label);
    return this.step(`${verb} ${label}`, () => sql`select ${sql.unsafe(`acme.${verb}`)}(${id})`);
  }

  request(label: string, onDuplicate: string): Promise<void> {
    const csr = this.#csr(label);
    const { csrs } = this.stage;
    return this.step(`request ${label} again, on_duplicate ${onDuplicate}`, async () => {
      const [row] = await csr.sql<[{ id: string }]>`
        select id from acme.request(${csr.pem}, on_duplicate => ${onDuplicate})`;
      if ([...csrs.values()].some(({ id }) => id === row.id)) return;
      const again = `c${String(++this.#csrs)}`;
      csrs.set(again, { ...csr, label: again, id: row.id });
    });
  }

  update(label: string, columns: Columns): Promise<void> {
    const { id, sql } = this.#csr(label);
    return this.step(
      `update ${label}${told(columns)}`,
      () => sql`
      update acme.csr set ${sql(columns as Record<string, string>)} where id = ${id}`,
    );
  }

  delete(label: string): Promise<void> {
    const { id } = this.#csr(label);
    return this.step(
      `delete ${label}`,
      () => this.stage.sql`select acme.delete_csrs(array[${id}::bigint])`,
    );
  }

  revoke(label: string, reason: string, afterReplacement = false): Promise<void> {
    const { id, sql } = this.#csr(label);
    return this.step(
      `revoke ${label} for ${reason}${afterReplacement ? ' after replacement' : ''}`,
      () => sql`
      select acme.revoke(${id}, ${reason}, ${afterReplacement})`,
    );
  }

  revokeCertificate(label: string, reason: string): Promise<void> {
    const { id, sql } = this.#csr(label);
    return this.step(
      `revoke the newest certificate of ${label} for ${reason}`,
      () => sql`
      select acme.revoke_certificate(max(id), ${reason}) from acme.certificate where csr_id = ${id}`,
    );
  }

  releaseDomain(tenant: Tenant, name: string, revoke = false): Promise<void> {
    const sql = this.stage.tenants[tenant];
    return this.step(
      `${tenant} releases ${name}${revoke ? ' and revokes' : ''}`,
      () => sql`
      select * from acme.release_domain(${name}, ${revoke})`,
    );
  }

  preauthorize(tenant: Tenant, name: string): Promise<void> {
    const sql = this.stage.tenants[tenant];
    return this.step(
      `${tenant} preauthorizes ${name}`,
      () => sql`select acme.preauthorize(${name})`,
    );
  }

  deactivate(tenant: Tenant, name: string): Promise<void> {
    const sql = this.stage.tenants[tenant];
    return this.step(
      `${tenant} deactivates the newest authorization for ${name}`,
      () => sql`
      select acme.deactivate_authorization(max(id)) from acme.authorization where identifier = ${name}`,
    );
  }

  /** Everything that waits for a person to publish or remove it is done. */
  publish(tenant: Tenant): Promise<void> {
    const sql = this.stage.tenants[tenant];
    return this.step(
      `${tenant} publishes and removes by hand`,
      () => sql`
      select case action when 'publish' then acme.challenge_published(id) else acme.challenge_removed(id) end
        from acme.challenge_todo`,
    );
  }

  // What administrators do.

  pause(scope: string, name: string): Promise<void> {
    const { admin } = this.stage;
    return this.step(
      `pause ${scope} ${name}`,
      () => admin`select acme.pause(${scope}, ${name}, 'maintenance')`,
    );
  }

  /** Of a csr by its label. */
  resume(scope: string, name: string): Promise<void> {
    const { admin, csrs } = this.stage;
    return this.step(
      `resume ${scope} ${name}`,
      () => admin`
      select acme.resume(${scope}, ${csrs.get(name)?.id ?? name})`,
    );
  }

  /** A function of administrators that takes an account's name. */
  account(
    verb: 'agree_terms' | 'verify_account' | 'roll_over_key' | 'deactivate_account',
    name: string,
  ): Promise<void> {
    const { admin } = this.stage;
    return this.step(
      `${verb} ${name}`,
      () => admin`select ${admin.unsafe(`acme.${verb}`)}(${name})`,
    );
  }

  addAccount(name: string, columns: Columns = {}): Promise<void> {
    const { admin } = this.stage;
    const row = { name, server: 'ca', terms_agreed: true, ...columns };
    return this.step(
      `add account ${name}${told(columns)}`,
      () => admin`
      insert into acme.account ${admin(row as unknown as Record<string, string>)}`,
    );
  }

  updateAccount(name: string, columns: Columns): Promise<void> {
    const { admin } = this.stage;
    return this.step(
      `update account ${name}${told(columns)}`,
      () => admin`
      update acme.account set ${admin(columns as Record<string, string>)} where name = ${name}`,
    );
  }

  replaceAccount(old: string, by: string): Promise<void> {
    const { admin } = this.stage;
    return this.step(
      `replace account ${old} by ${by}`,
      () => admin`select acme.replace_account(${old}, ${by})`,
    );
  }

  moveName(name: string, tenant: Tenant | null): Promise<void> {
    const { admin, database } = this.stage;
    const to = tenant === null ? null : `${database.name}_${tenant}`;
    return this.step(
      `move ${name} to ${tenant ?? 'nobody'}`,
      () => admin`select acme.move_name(${name}, ${to})`,
    );
  }

  // What the CA and time do.

  /** From now on the CA behaves like this, and no other way. */
  ca(mode: Mode): Promise<void> {
    return this.step(`the CA: ${mode}`, () => {
      const { ca } = this.stage;
      ca.clearFaults();
      Object.assign(ca.options, {
        validation: 'valid',
        certificate: {},
        issuanceProblem: undefined,
        authzReuse: 'never',
      });
      MODES[mode](ca);
      return Promise.resolve();
    });
  }

  /** Something happens to the CA once. */
  happens(what: string, act: (ca: Stage['ca']) => void): Promise<void> {
    return this.step(`the CA ${what}`, () => {
      act(this.stage.ca);
      return Promise.resolve();
    });
  }

  pass(time: keyof typeof TIMES): Promise<void> {
    return this.step(`${time} passes`, () => this.stage.pass(TIMES[time]));
  }

  #csr(label: string) {
    const csr = this.stage.csrs.get(label);
    if (csr === undefined) throw new Error(`The script has no csr ${label}.`);
    return { ...csr, sql: this.stage.tenants[csr.tenant] };
  }
}

/** Plays a script in a world of its own and returns its record. */
export async function play(
  script: (play: Play) => Promise<void>,
  coverage: Stage['coverage'],
  options: StageOptions = {},
): Promise<string> {
  const stage = await openStage({ ...options, coverage });
  try {
    const made = new Play(stage);
    await made.step('the worker starts', () => Promise.resolve());
    await script(made);
    await collect(stage.sql, coverage);
    return made.text();
  } finally {
    await stage.close();
  }
}

function told(columns: Columns): string {
  const parts = Object.entries(columns)
    .filter(([key]) => !key.endsWith('pem'))
    .map(([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
