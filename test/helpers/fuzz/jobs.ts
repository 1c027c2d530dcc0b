import type postgres from 'postgres';

/** A job as a worker gets it. */
export interface Job {
  id: string;
  task: string;
  payload: { kind?: 'order' | 'authorization' | 'account' | 'certificate' | 'csr'; id?: number };
}

/**
 * Takes the `nth` job that nobody has, as the queue does: locked in one transaction, so that a new wake-up by
 * its key becomes another job. Due or not: the queue's clock does not jump, and a step that is not due
 * is refused by its claim.
 */
export async function takeJob(sql: postgres.Sql, nth: number): Promise<Job | undefined> {
  const [job] = await sql<Job[]>`
    update acme_worker._private_jobs j
       set locked_at = now(), locked_by = 'fuzz', attempts = attempts + 1
      from acme_worker._private_tasks t
     where t.id = j.task_id
       and j.id = (select x.id from acme_worker._private_jobs x
                    where x.locked_at is null order by x.id offset ${nth} limit 1
                      for update skip locked)
    returning j.id, t.identifier as task, j.payload`;
  return job;
}

/** The job is done. */
export async function completeJob(sql: postgres.Sql, job: Job): Promise<void> {
  await sql`delete from acme_worker._private_jobs where id = ${job.id}`;
}
