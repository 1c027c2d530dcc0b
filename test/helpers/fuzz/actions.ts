import * as fc from 'fast-check';
import postgres from 'postgres';
import { completeJob, takeJob } from './jobs.ts';
import { commit, dispatch, type FuzzWorker, hold, SUCCESS } from './worker.ts';
import { ACCOUNTS, type Application, csrFor, type World } from './world.ts';

/** Who acts: one worker, or one of the applications, or whoever else there is. */
export type Actor = 'worker' | 'application' | 'administrator';

/** One move, drawn by fast-check; small numbers choose among what there is when it is made. */
export interface Action {
  what: string;
  a: number;
  b: number;
  c: number;
}

/** What each actor does, and how often. */
const MOVES: Record<Actor, Record<string, number>> = {
  worker: {
    go: 32,
    job: 12,
    dispatch: 4,
    claim: 3,
    attend: 2,
    echo: 6,
    reconcile: 2,
    release: 1,
    forget: 1,
  },
  application: {
    insert: 6,
    again: 1,
    retry: 4,
    renew: 3,
    cancel: 1,
    revoke: 2,
    edit: 1,
    publish: 3,
    takeBack: 1,
  },
  administrator: { jump: 6, resume: 2, pause: 1, unclaim: 1, remove: 1, terms: 1 },
};

/** Any move of these actors. */
export function anyAction(...actors: Actor[]): fc.Arbitrary<Action> {
  const moves = actors.flatMap((actor) => Object.entries(MOVES[actor]));
  return fc.record({
    what: fc.oneof(...moves.map(([what, weight]) => ({ weight, arbitrary: fc.constant(what) }))),
    a: fc.nat(7),
    b: fc.nat(99),
    c: fc.nat(7),
  });
}

const JUMPS = [2, 20, 61, 61, 300, 6000, 90_000, 61 * 86_400];

/** A CSR's life as far as its application remembers it: what was asked, and how far orders had come then. */
export interface Memory {
  asked: Map<string, { renew?: number; retry?: number }>;
}

/** Makes a move and says what it was. Refusals that are promised are told; anything else is thrown. */
export async function perform(
  world: World,
  worker: FuzzWorker,
  memory: Memory,
  action: Action,
): Promise<string> {
  const { what, a, b, c } = action;
  const { sql } = world;
  const app = world.apps[a % world.apps.length];
  if (app === undefined) throw new Error('There is no application.');
  switch (what) {
    case 'go':
    case 'echo': {
      const index = worker.held.length - 1 - (a % Math.max(worker.held.length, 1));
      const held = worker.held[index];
      if (held === undefined) return perform(world, worker, memory, { ...action, what: 'job' });
      // An echo is sent again later, when its lease is gone.
      if (what === 'go') worker.held.splice(index, 1);
      if ('claim' in held) return commit(world, worker, held.claim, { b, c }, c % 3);
      return dispatch(world, worker, held, c % 3, { b, c });
    }
    case 'job': {
      const job = await takeJob(sql, a);
      if (job === undefined) return dispatch(world, worker, null, c % 3, SUCCESS);
      const told = await start(world, worker, job.task, job.payload.kind, job.payload.id ?? 0, c);
      // One in eight dies and leaves its job locked.
      if (b >= 12) await completeJob(sql, job);
      return `job ${job.task} ${told}`;
    }
    case 'dispatch':
      return dispatch(world, worker, null, c % 3, SUCCESS);
    case 'claim': {
      const kinds = ['order', 'authorization', 'account', 'certificate'] as const;
      const kind = kinds[b % 4] ?? 'order';
      return start(world, worker, 'claim', kind, await pick(world, kind, a), c);
    }
    case 'attend':
      return start(world, worker, 'attend', 'csr', await pick(world, 'csr', a), c);
    case 'release': {
      const held = worker.held.shift();
      if (held === undefined || !('claim' in held)) return 'releases nothing';
      await worker.steps.release(held.claim);
      return `release ${held.claim.kind} ${String(held.claim.id)}`;
    }
    case 'forget':
      worker.held = [];
      return 'dies';
    case 'reconcile':
      await worker.steps.reconcile();
      return 'reconcile';
    case 'jump': {
      const seconds = JUMPS[a] ?? 1;
      await world.jump(seconds);
      return `${String(seconds)} s pass`;
    }
    case 'remove': {
      const id = await pick(world, 'csr', a + c);
      await sql`delete from acme.csr where id = ${id}`;
      return `delete csr ${String(id)}`;
    }
    case 'unclaim': {
      const [gone] = await sql<{ name: string }[]>`
        select name, acme.move_name(name, ${c % 2 === 0 ? null : 'somebody else'})
          from (select name from acme.name_owner order by name offset ${a} limit 1) n`;
      return `move the name ${gone?.name ?? '-'}`;
    }
    case 'pause':
    case 'resume':
      return pauseOrResume(sql, what, b);
    case 'terms':
      await sql`
        update acme.account set terms_agreed = not terms_agreed
         where name = ${Object.keys(ACCOUNTS)[a % 3] ?? 'main'}`;
      return 'a person looks after an account';
    default:
      return application(world, app, memory, action);
  }
}

async function start(
  world: World,
  worker: FuzzWorker,
  task: string,
  kind: 'order' | 'authorization' | 'account' | 'certificate' | 'csr' | undefined,
  id: number,
  c: number,
): Promise<string> {
  if (task === 'reconcile') {
    await worker.steps.reconcile();
    return 'reconcile';
  }
  if (kind === undefined) return dispatch(world, worker, null, c % 3, SUCCESS);
  if (kind === 'csr') {
    hold(worker, await worker.steps.attend(id, c % 3));
    return `attend csr ${String(id)}`;
  }
  const claim = await worker.steps.claim(kind, id);
  if (claim !== null) hold(worker, [claim]);
  return `claim ${kind} ${String(id)}: ${claim === null ? 'nothing' : (claim.step ?? 'no step')}`;
}

async function pauseOrResume(sql: postgres.Sql, what: string, b: number): Promise<string> {
  const [scope, name] = (
    [
      ['server', 'ca'],
      ['account', 'second'],
    ] as const
  )[b % 2] ?? ['server', 'ca'];
  await (what === 'pause'
    ? sql`select acme.pause(${scope}, ${name}, 'a test')`
    : sql`select acme.resume(${scope}, ${name})`);
  return `${what} ${scope} ${name}`;
}

/** SQLSTATEs of refusals that an application has to expect: a duplicate, an unknown or ended csr. */
const REFUSALS = ['23505', 'P0002', 'P0001', '40001', '55000'];

async function application(
  world: World,
  app: Application,
  memory: Memory,
  { what, a, b, c }: Action,
): Promise<string> {
  const { sql } = app;
  try {
    switch (what) {
      case 'insert': {
        const names = app.pool.filter((_, i) => ((b % 15) + 1) & (1 << i));
        const account = Object.keys(ACCOUNTS)[c % 3] ?? 'main';
        const row = { pem: csrFor(world, names), account, priority: c };
        const [made] = await sql<[{ id: string }]>`
          insert into acme.csr ${sql(row)} returning id`;
        return `insert csr ${made.id} for ${names.join(', ')} at ${account}`;
      }
      case 'publish':
      case 'takeBack': {
        const [todo] = await sql<{ id: string }[]>`
          select id from acme.record
           where method = 'manual' and state = ${what === 'publish' ? 'intended' : 'removing'}
           order by id desc limit 1`;
        if (todo === undefined) return 'nothing to publish';
        await (what === 'publish'
          ? sql`select acme.challenge_published(${todo.id})`
          : sql`select acme.challenge_removed(${todo.id})`);
        return `${what} record ${todo.id}`;
      }
      default:
        return await request(world, sql, memory, { what, a, b, c });
    }
  } catch (error) {
    if (error instanceof postgres.PostgresError && REFUSALS.includes(error.code)) {
      return `${what} is refused: ${error.message}`;
    }
    throw error;
  }
}

async function request(
  world: World,
  sql: postgres.Sql,
  memory: Memory,
  { what, b, c }: Action,
): Promise<string> {
  const [csr] = await sql<{ id: string; pem: string }[]>`
    select id, pem from acme.csr order by id desc offset ${b % 5} limit 1`;
  if (csr === undefined) return 'no csr';
  // Any order that answers a request has an id above this one.
  const [made] = await world.sql<[{ last: number }]>`
    select case when is_called then last_value::int else 0 end as last from acme_private.order_id_seq`;
  const remember = (asked: { renew?: number; retry?: number }) => {
    memory.asked.set(csr.id, { ...memory.asked.get(csr.id), ...asked });
  };
  switch (what) {
    case 'retry':
      await sql`select acme.retry(${csr.id})`;
      remember({ retry: made.last });
      break;
    case 'renew':
      await sql`select acme.renew(${csr.id}, 'a test')`;
      remember({ renew: made.last });
      break;
    case 'again':
      await sql`select acme.request(${csr.pem}, on_duplicate => 'renew')`;
      break;
    case 'cancel':
      await sql`select acme.cancel(${csr.id})`;
      break;
    case 'revoke':
      await revoke(sql, csr.id, c === 7 && b < 25 ? 'keyCompromise' : 'superseded', c);
      break;
    case 'edit':
      await sql`
        update acme.csr set renewal = ${c % 2 === 0 ? 'off' : 'reuse'}, priority = ${c}
         where id = ${csr.id}`;
      break;
  }
  return `${what} csr ${csr.id}`;
}

/** Its csr with it, after a replacement, or one certificate alone, which may be an old one. */
async function revoke(sql: postgres.Sql, csr: string, reason: string, c: number): Promise<void> {
  if (c % 2 === 0) await sql`select acme.revoke(${csr}, ${reason}, ${c % 4 === 0})`;
  else {
    await sql`
      select acme.revoke_certificate(id, ${reason})
        from (select id from acme.certificate order by id desc offset ${c} limit 1) k`;
  }
}

async function pick(world: World, kind: string, nth: number): Promise<number> {
  const { sql } = world;
  const [row] = await sql.unsafe<{ id: number }[]>(
    {
      csr: `select csr_id::int as id from acme_private.csr_state order by csr_id desc offset $1 limit 1`,
      order: `select id::int from acme_private."order" order by is_live desc, id desc offset $1 limit 1`,
      authorization: `select id::int from acme_private.authorization order by state = 'pending' desc, id desc offset $1 limit 1`,
      certificate: `select id::int from acme_private.certificate order by state = 'revoking' desc, id desc offset $1 limit 1`,
      account: `select account_id::int as id from acme_private.account_state order by account_id offset $1 % 3 limit 1`,
    }[kind] ?? 'select 0 as id where $1 < 0',
    [nth],
  );
  return row?.id ?? 0;
}

/** Csrs of both tenants that are accepted and wait for their turn. */
export async function prepare(world: World, worker: FuzzWorker, count: number): Promise<void> {
  const memory: Memory = { asked: new Map() };
  for (let a = 0; a < count; a++) {
    await perform(world, worker, memory, { what: 'insert', a, b: a, c: a % 8 });
  }
  await perform(world, worker, memory, { what: 'dispatch', a: 0, b: 0, c: 1 });
  await perform(world, worker, memory, { what: 'go', a: 0, b: 0, c: 0 });
}
