import type postgres from 'postgres';

/**
 * Sentences about what no snapshot of the tables may show, whatever is under way; none: all is well.
 * One statement, so that it looks at one moment.
 */
export async function violations(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ text: string }[]>`
    select format('csr %s was deleted and is %s', s.csr_id, s.state) as text
      from acme_private.csr_state s where not exists (select from acme.csr c where c.id = s.csr_id)
    union all
    select format('csr %s has %s live orders', csr_id, count(*))
      from acme_private."order" where is_live group by csr_id having count(*) > 1
    union all
    select format('account %s has %s live orders for %s', account_id, count(*), identifiers)
      from acme_private."order" where is_live
     group by account_id, identifiers, coalesce(profile, '') having count(*) > 1
    union all
    select format('orders %s and %s of two tenants are live for overlapping names', a.id, b.id)
      from acme_private."order" a
      join acme_private."order" b on b.is_live and b.tenant > a.tenant
     -- (One that is given up at another account shares no authorization, and is not finalized.)
     where a.is_live and (a.account_id = b.account_id or not a.is_unwanted and not b.is_unwanted) and exists (
       select from unnest(a.identifiers) x cross join unnest(b.identifiers) y
        where acme_private.is_within(x, acme_private.base_name(y)) or acme_private.is_within(y, acme_private.base_name(x)))
    union all
    select format('live order %s of a tenant has authorization %s of another', o.id, a.id)
      from acme_private."order" o
      join acme_private.order_authorization oa on oa.order_id = o.id
      join acme_private.authorization a on a.id = oa.authorization_id
     where o.is_live and a.tenant <> o.tenant
    union all
    select format('csr %s is ordering without a live order', s.csr_id)
      from acme_private.csr_state s
     where s.state = 'ordering'
       and not exists (select from acme_private."order" o where o.id = s.order_id and o.csr_id = s.csr_id and o.is_live)
    union all
    select format('csr %s is %s and refers to an order that is not live', s.csr_id, s.state)
      from acme_private.csr_state s
     where s.order_id is not null
       and not exists (select from acme_private."order" o where o.id = s.order_id and o.csr_id = s.csr_id and o.is_live)
    union all
    select format('csr %s is %s and has an order under way', s.csr_id, s.state)
      from acme_private.csr_state s
     where s.order_id is not null and s.state not in ('ordering', 'renewing')
    union all
    select format('the live order %s is not its csr''s', o.id)
      from acme_private."order" o
     where o.is_live
       and not exists (select from acme_private.csr_state s where s.csr_id = o.csr_id and s.order_id = o.id)
    union all
    select format('the finished order %s is leased or due', o.id)
      from acme_private."order" o
     -- (Of a cancelled csr it is watched until it expires.)
     where not o.is_live and o.watched_until is null and (o.lease_token is not null or o.next_attempt_at is not null)
    union all
    select format('order %s is %s and holds no place', o.id, o.state)
      from acme_private."order" o
     where o.is_live and o.is_parked and o.state <> 'authorizing'
    union all
    select format('authorization %s is %s and leased', a.id, a.state)
      from acme_private.authorization a
     where a.state not in ('pending', 'deactivating') and a.lease_token is not null
    union all
    select format('csr %s is %s and leased', s.csr_id, s.state)
      from acme_private.csr_state s
     where s.state <> 'received' and s.lease_token is not null
    union all
    select format('csr %s has %s current certificates', csr_id, count(*))
      from acme_private.certificate where state = 'current' group by csr_id having count(*) > 1
    union all
    select format('csr %s refers to certificate %s, and certificate %s is %s', s.csr_id, s.certificate_id, k.id, k.state)
      from acme_private.csr_state s
      join acme_private.certificate k on k.csr_id = s.csr_id
     where k.state = 'current' and k.id is distinct from s.certificate_id
        or k.state = 'superseded' and k.id = s.certificate_id
        or k.id > s.certificate_id
    union all
    select format('certificate %s is %s and leased or due', k.id, k.state)
      from acme_private.certificate k
     where k.state <> 'revoking' and (k.lease_token is not null or k.next_attempt_at is not null)
    union all
    select format('certificate %s is %s and waits for its replacement', k.id, k.state)
      from acme_private.certificate k
     where k.state <> 'current' and k.revoke_when_replaced
    union all
    select format('certificate %s is %s, and is looked up by name', k.id, k.state)
      from acme_private.certificate_name n
      join acme_private.certificate k on k.id = n.certificate_id
      join acme_private.csr_state s on s.csr_id = k.csr_id
     where k.state not in ('current', 'revoking') or s.certificate_id <> k.id
    union all
    select format('order %s has two certificates', order_id)
      from acme_private.certificate group by order_id having count(*) > 1
    union all
    select format('csr %s is retrying at no time', csr_id)
      from acme_private.csr_state where state = 'retrying' and next_attempt_at is null
    union all
    select format('csr %s is %s, without a reason', csr_id, state)
      from acme_private.csr_state
     where state in ('rejected', 'retrying', 'needs_person', 'needs_new_csr', 'failed', 'cancelled')
       and (reason is null or reason_code is null)
    union all
    select format('csr %s is queued at no time', csr_id)
      from acme_private.csr_state where state in ('queued', 'renewing') and order_id is null and queued_at is null
    union all
    select format('%s has gone from %s to %s', kind, from_state, to_state)
      from fuzz.transition t
     where not exists (select from acme_private.transition x
                        where (x.kind, x.from_state, x.to_state) = (t.kind, t.from_state, t.to_state))`;
  return rows.map(({ text }) => text);
}

/** What must not be left when all work has come to rest. */
export async function leftovers(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ text: string }[]>`
    select format('order %s is still leased', id) as text
      from acme_private."order" where lease_token is not null
    union all
    select format('account %s is still leased', account_id)
      from acme_private.account_state where lease_token is not null
    union all
    select format('csr %s is still leased', csr_id)
      from acme_private.csr_state where lease_token is not null
    union all
    select format('record %s is %s, and no live order needs it', r.id, r.state)
      from acme_private.record r
     where r.state in ('intended', 'published')
    union all
    select format('csr %s has a request of version %s, seen is %s', c.id, c.version, s.seen_version)
      from acme.csr c
      join acme_private.csr_state s on s.csr_id = c.id
     where c.version <> s.seen_version
    union all
    select format('csr %s is %s, although it was cancelled', c.id, s.state)
      from acme.csr c
      join acme_private.csr_state s on s.csr_id = c.id
     where c.cancel_request is not null and s.state not in ('cancelled', 'rejected')
    union all
    select format('certificate %s is still %s', k.id, k.state)
      from acme_private.certificate k where k.state = 'revoking' or k.lease_token is not null
    union all
    select format('csr %s is %s, although it was to end with certificate %s', s.csr_id, s.state, k.id)
      from acme_private.certificate k
      join acme_private.csr_state s on s.csr_id = k.csr_id
     where k.ends_csr and k.state <> 'revoking' and s.state <> 'cancelled'
    union all
    select format('the renewal of csr %s is held back for nothing (%s)', s.csr_id, s.renewal_reason)
      from acme_private.csr_state s where s.state = 'issued' and s.renewal_reason is not null
    union all
    select format('the request to revoke certificate %s was not seen', q.certificate_id)
      from acme.revocation_request q
    union all
    select format('csr %s has a blocked key and is %s', s.csr_id, s.state)
      from acme_private.csr_state s
      join acme_private.blocked_key b using (spki_sha256)
     where s.state not in ('needs_new_csr', 'rejected', 'failed', 'cancelled')
    union all
    select format('there is a reminder of a request for csr %s', q.csr_id)
      from acme_private.request q`;
  return rows.map(({ text }) => text);
}

/**
 * Logs every change of a state, whoever makes it; the triggers that check them are not relied on. The
 * log has no key: sessions must not wait for each other here.
 */
export async function logTransitions(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create table fuzz.transition (kind text not null, from_state text not null, to_state text not null);
    create function fuzz.tg_log() returns trigger language plpgsql security definer as $$
    begin
      if not exists (select from fuzz.transition t
                      where (t.kind, t.from_state, t.to_state) = (tg_argv[0], old.state, new.state)) then
        insert into fuzz.transition values (tg_argv[0], old.state, new.state);
      end if;
      return null;
    end $$;`);
  const kinds = { csr: 'csr_state', account: 'account_state' };
  const plain = ['order', 'authorization', 'challenge', 'record', 'certificate'];
  const tables = [...Object.entries(kinds), ...plain.map((kind) => [kind, kind])];
  for (const [kind, table] of tables) {
    await sql.unsafe(`
      create trigger _900_log after update on acme_private."${table}"
        for each row when (old.state is distinct from new.state) execute function fuzz.tg_log('${kind}')`);
  }
}

/** Tables that a call may write although it changes nothing, each with the reason. */
export const LEFT_OUT: Readonly<Record<string, string>> = {};

/** The jobs of the queue are compared too; the rest of its schema is graphile-worker's own. */
const QUEUE = 'acme_worker._private_jobs';

/** The tables that {@link fingerprint} reads: all of ours but those left out, by the catalog, and the queue's jobs. */
export async function fingerprintedTables(sql: postgres.ISql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('acme', 'acme_private') and c.relkind in ('r', 'p', 'f') and not c.relispartition
     order by 1`;
  return [...rows.map(({ name }) => name), QUEUE].filter((name) => !(name in LEFT_OUT));
}

/** A hash of all rows that workers and applications can write, to tell that a call has changed nothing. */
export async function fingerprint(sql: postgres.ISql): Promise<string> {
  const rows = (await fingerprintedTables(sql)).map(
    (table) => `select '${table}' || x::text from ${table} x`,
  );
  const [row] = await sql.unsafe<[{ hash: string }]>(`
    select md5(coalesce(string_agg(t, '' order by t), '')) as hash
      from (${rows.join(' union all ')}) a (t)`);
  return row.hash;
}

/** Servers that have more orders in flight than they may. */
export async function crowded(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ text: string }[]>`
    select format('server %s has %s orders in flight', s.name, count(*)) as text
      from acme_private."order" o
      join acme.server s on s.id = o.server_id
     where o.is_live and not o.is_parked
     group by s.id
    having count(*) > s.max_orders_in_flight`;
  return rows.map(({ text }) => text);
}
