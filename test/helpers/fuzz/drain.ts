import { set } from '../state/index.ts';
import { completeJob, takeJob } from './jobs.ts';
import { commit, dispatch, type FuzzWorker, hold, SUCCESS } from './worker.ts';
import type { World } from './world.ts';

/** More rounds than the longest ladder of tries needs. */
const ROUNDS = 60;

/**
 * Lets one worker that succeeds at everything do what is left, as time passes, until nothing more would
 * happen by itself. Throws where something neither ends nor says what it waits for.
 */
export async function drain(world: World, worker: FuzzWorker): Promise<void> {
  const { sql } = world;
  worker.held = [];
  await sql`select acme.resume('server', name) from acme.server`;
  await sql`select acme.resume('account', name) from acme.account`;
  await sql`update acme.account set terms_agreed = not terms_agreed`;
  for (let round = 0; round < ROUNDS; round++) {
    // Over the leases of those who died, then over waits and ladders, always less than a certificate lasts.
    await world.jump(round < 6 ? 61 : round < 12 ? 3700 : 90_000);
    await worker.steps.reconcile();
    await work(world, worker);
    const published = await set(
      sql,
      'record',
      { method: 'manual', state: 'intended' },
      { state: 'published' },
    );
    const [rest] = await sql<[{ count: number }]>`
      select count(*)::int as count
        from acme.csr c
        join acme_private.csr_state s on s.csr_id = c.id
       where s.state not in ('issued', 'rejected', 'failed', 'cancelled', 'needs_person', 'needs_new_csr')
          or s.order_id is not null
          or c.version <> s.seen_version
          or exists (select from acme_private.certificate k where k.csr_id = s.csr_id and k.state = 'revoking')`;
    if (published.length === 0 && rest.count === 0 && round > 1) return;
  }
  const stuck = await sql<{ text: string }[]>`
    select acme.explain(s.csr_id) || E'\n' || to_jsonb(s)::text as text
      from acme_private.csr_state s
     where s.state not in ('issued', 'rejected', 'failed', 'cancelled', 'needs_person', 'needs_new_csr')
        or s.order_id is not null
        or exists (select from acme_private.certificate k where k.csr_id = s.csr_id and k.state = 'revoking')
        or s.seen_version <> (select c.version from acme.csr c where c.id = s.csr_id)`;
  throw new Error(`It never came to rest: ${stuck.map(({ text }) => text).join('\n\n')}`);
}

/** All jobs, and all that follows from them. */
async function work(world: World, worker: FuzzWorker): Promise<void> {
  const { sql } = world;
  // A dispatch that leaves some waiting comes back by a job of its own: one round is bounded.
  for (let jobs = 0; jobs < 100; jobs++) {
    const job = await takeJob(sql, 0);
    if (job === undefined) return;
    const { kind, id } = job.payload;
    if (kind === undefined || id === undefined) {
      if (job.task === 'dispatch') await dispatch(world, worker, null, 1, SUCCESS);
    } else if (kind === 'csr') {
      hold(worker, await worker.steps.attend(id, 1));
    } else {
      const claim = await worker.steps.claim(kind, id);
      if (claim !== null) hold(worker, [claim]);
    }
    for (let held = worker.held.shift(); held !== undefined; held = worker.held.shift()) {
      if ('claim' in held) await commit(world, worker, held.claim, SUCCESS, 8);
      else await dispatch(world, worker, held, 1, SUCCESS);
    }
    await completeJob(sql, job);
  }
}
