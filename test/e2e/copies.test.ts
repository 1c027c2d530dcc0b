import { expect, test } from 'vitest';
import {
  asked,
  clone,
  expectHeldUntilAdopted,
  fill,
  insertAccount,
  insertCsr,
  reach,
  startSite,
  statusOf,
} from '../helpers/copied.ts';
import { freshDatabase } from '../helpers/postgres.ts';
import { frozenCopy } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

test('a clone under a new name sends nothing until it is adopted, and then goes on', async () => {
  const { name, url, sql } = await freshDatabase();
  const site = await startSite();
  const csrs = await fill(url, sql, site);
  const copy = await clone(name);
  try {
    await expectHeldUntilAdopted(
      { url: copy.url, sql: site.connect(copy.url), site, csrs },
      new RegExp(`under the name ${name} \\(here t_.*pgacme adopt-database is run\\.$`),
    );
  } finally {
    await copy.drop();
  }
  // The original is none the worse for it.
  await site.worker(url);
  await reach(sql, csrs.received, 'issued');
});

test('a worker of another environment sends nothing until the database is adopted for it', async () => {
  const { url, sql } = await freshDatabase();
  const site = await startSite();
  const csrs = await fill(url, sql, site);
  await expectHeldUntilAdopted(
    { url, sql, site, csrs },
    /without PGACME_ENVIRONMENT \(its worker has staging\)\. .*, or the worker has the right PGACME_ENVIRONMENT\.$/,
    'staging',
  );
  const { lines } = await site.worker(url, { answers: false });
  expect(lines.find(({ msg }) => String(msg).startsWith('held'))?.['reason']).toContain(
    'with PGACME_ENVIRONMENT staging (its worker has none)',
  );
});

test('a worker of another environment beside a right one keeps out of its way', async () => {
  const { url, sql } = await freshDatabase();
  const site = await startSite();
  await insertAccount(sql, site);
  const wrong = await site.worker(url, { environment: 'staging', answers: false });
  const right = await site.worker(url);
  const csr = await insertCsr(sql);
  await reach(sql, csr, 'issued');
  expect(await statusOf(sql, csr)).toMatchObject({ reason_code: null });
  expect(wrong.lines.map(({ msg }) => msg)).toEqual([
    'this worker does not answer http-01: PGACME_HTTP01_LISTEN is not set',
    'held: this worker does nothing for now',
    'worker started',
  ]);
  const events = await sql`
    select distinct worker_id::int as worker from acme.event where worker_id is not null`;
  expect(events).toEqual([{ worker: right.worker.id }]);
});

test('workers at work get nothing more from a database that turns out to be a copy', async () => {
  const { url, sql } = await freshDatabase();
  const site = await startSite();
  const csrs = await fill(url, sql, site);
  const { worker: atWork } = await site.worker(url);
  await reach(sql, csrs.underWay, 'issued');
  await reach(sql, csrs.received, 'issued');
  // As their pools find it when they reconnect and a restored dump has taken the place of the database.
  await frozenCopy(sql, { system_identifier: '1' });
  const before = site.ca.seen.length;
  const csr = await insertCsr(sql);
  await until(
    async () =>
      (await sql`select from acme_worker.jobs where task_identifier = 'dispatch'`).length === 0,
    { what: 'the worker has taken the wake-up' },
  );
  expect(await statusOf(sql, csr)).toMatchObject({
    state: 'paused',
    reason_code: 'database_copied',
    reason: expect.stringContaining('on another PostgreSQL cluster') as string,
  });
  expect(await asked(sql, atWork.id)).toEqual([]);
  expect(site.ca.seen.slice(before)).toEqual([]);
});

test('a worker that waits to be released can be stopped', async () => {
  const { url, sql } = await freshDatabase();
  const site = await startSite();
  await frozenCopy(sql, { database_name: 'another' });
  const { worker } = await site.worker(url);
  const id = worker.id ?? 0;
  await worker.stop();
  expect(await sql`select state from acme.worker_status where id = ${id}`).toEqual([
    { state: 'stopped' },
  ]);
});
