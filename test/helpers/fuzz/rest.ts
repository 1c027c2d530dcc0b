import type { Memory } from './actions.ts';
import { drain } from './drain.ts';
import { fingerprint, leftovers, violations } from './invariants.ts';
import { commit, dispatch, type FuzzWorker, leases, SUCCESS } from './worker.ts';
import type { World } from './world.ts';

/**
 * Lets everything come to rest and looks for what was lost: a request, a lease, a record. Then the
 * workers that still hold something commit it, far too late, and nothing may change.
 */
export async function comeToRest(
  world: World,
  workers: FuzzWorker[],
  memory: Memory,
  options: { losesJobs: boolean },
): Promise<void> {
  const { sql } = world;
  const crew = workers.map((worker) => ({ ...worker, held: [...worker.held] }));
  // A wake-up holds no fact: without all of them the same must come of it.
  if (options.losesJobs) await sql`delete from acme_worker._private_jobs`;
  const [first] = workers;
  if (first !== undefined) await drain(world, first);
  // What was passed over because it was locked is looked at again after ten seconds.
  await world.jump(30);
  await first?.steps.reconcile();
  const problems = [
    ...(await violations(sql)),
    ...(await leftovers(sql)),
    ...(await unanswered(world, memory)),
  ];
  if (problems.length > 0) throw new Error(`At rest: ${problems.join('; ')}`);
  // An authorization that no order needs any more may keep its lease: what its holder brings still counts.
  const held = new Set((await leases(sql)).map(({ token }) => token));
  const before = await fingerprint(sql);
  for (const worker of crew) {
    for (const late of [...worker.held]) {
      if (!('claim' in late)) await dispatch(world, worker, late, 0, SUCCESS);
      else if (!held.has(late.claim.lease)) await commit(world, worker, late.claim, SUCCESS, 1);
    }
  }
  if ((await fingerprint(sql)) !== before) throw new Error('A commit that came too late counted.');
}

/** Requests for which no order was made, and that no sentence explains. */
async function unanswered(world: World, memory: Memory): Promise<string[]> {
  const problems: string[] = [];
  for (const [csr, { renew, retry }] of memory.asked) {
    const [row] = await world.sql<
      { state: string; reason_code: string | null; last: number; issued: number | null }[]
    >`
      select s.state, s.reason_code, k.order_id::int as issued,
             coalesce((select max(o.id) from acme_private."order" o where o.csr_id = s.csr_id), 0)::int as last
        from acme_private.csr_state s
        left join acme_private.certificate k on k.id = s.certificate_id
       where s.csr_id = ${csr}`;
    if (row === undefined) continue;
    if (row.state === 'issued' && renew !== undefined && (row.issued ?? 0) <= renew) {
      problems.push(`csr ${csr} was not renewed on request`);
    }
    const isExplained = ['replaced', 'name_held'].includes(row.reason_code ?? '');
    const isEnded = ['failed', 'needs_person'].includes(row.state);
    if (isEnded && !isExplained && retry !== undefined && row.last <= retry) {
      problems.push(`csr ${csr} is ${row.state} and was not tried again on request`);
    }
  }
  return problems;
}
