import type postgres from 'postgres';
import { asked } from './asked.ts';
import { Normal } from './normal.ts';
import type { Stage } from './stage.ts';

/** What is to be seen of a world: a line for each thing, by what it is about. */
type Picture = Map<string, string>;

interface Event {
  id: string;
  event: string;
  csr_id: string | null;
  account: string | null;
  tenant: string | null;
  detail: Record<string, unknown> | null;
}

/** Writes down what changes from step to step. */
export class Recorder {
  readonly #stage: Stage;
  readonly #normal: Normal;
  readonly #lines: string[] = [];
  #picture: Picture = new Map();
  #lastEvent = '0';
  readonly #asked;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#normal = new Normal(stage.database.name, stage.now);
    this.#asked = asked(stage.ca);
  }

  /** The end of a step: what it was, and all that changed by it. */
  async step(what: string): Promise<void> {
    const changes = [...(await this.#events()), ...this.#asked(), ...(await this.#changes())];
    this.#lines.push(what, ...changes.map((line) => `  ${line}`));
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  async #changes(): Promise<string[]> {
    const before = this.#picture;
    this.#picture = await picture(this.#stage, this.#normal);
    const changes: string[] = [];
    for (const [key, told] of this.#picture) {
      if (before.get(key) !== told) changes.push(`${key}: ${told}`);
    }
    for (const key of before.keys()) {
      if (!this.#picture.has(key)) changes.push(`${key}: gone`);
    }
    return changes.sort();
  }

  async #events(): Promise<string[]> {
    const { sql } = this.#stage;
    const events = await sql<Event[]>`
      select e.id, e.event, e.csr_id, a.name as account, e.tenant, e.detail
        from acme.event e
        left join acme.account a on a.id = e.account_id
       where e.id > ${this.#lastEvent}
       order by e.id`;
    this.#lastEvent = events.at(-1)?.id ?? this.#lastEvent;
    const labels = labelsOf(this.#stage);
    const groups = new Map<string, Event[]>();
    for (const event of events) {
      const about =
        event.csr_id === null
          ? event.tenant === null
            ? `account ${event.account ?? '-'}`
            : `tenant ${this.#normal.tenant(event.tenant) ?? ''}`
          : (labels.get(event.csr_id) ?? `csr ${event.csr_id}`);
      groups.set(about, [...(groups.get(about) ?? []), event]);
    }
    return [...groups]
      .map(
        ([about, list]) =>
          `${about} events: ${sideBySide(list)
            .map((event) => this.#event(event))
            .join(', ')}`,
      )
      .sort();
  }

  #event({ event, detail }: Event): string {
    const told = detail === null ? '{}' : this.#normal.members(detail);
    return told === '{}' ? event : `${event} ${told}`;
  }
}

/** Authorizations of one order are worked on side by side: what comes of them in a row is sorted by name. */
function sideBySide(events: Event[]): Event[] {
  const nameOf = ({ detail }: Event) =>
    typeof detail?.['identifier'] === 'string' ? detail['identifier'] : undefined;
  const sorted: Event[] = [];
  let run: Event[] = [];
  const endRun = () => {
    sorted.push(
      ...run.sort((a, b) =>
        (nameOf(a) ?? '') < (nameOf(b) ?? '') ? -1 : nameOf(a) === nameOf(b) ? 0 : 1,
      ),
    );
    run = [];
  };
  for (const event of events) {
    if (nameOf(event) === undefined) {
      endRun();
      sorted.push(event);
    } else run.push(event);
  }
  endRun();
  return sorted;
}

function labelsOf({ csrs }: Stage): Map<string, string> {
  return new Map([...csrs.values()].map(({ id, label }) => [id, label]));
}

type Row = Record<string, unknown> & { about: string };

async function picture(stage: Stage, normal: Normal): Promise<Picture> {
  const { sql } = stage;
  const labels = labelsOf(stage);
  const found: Picture = new Map();
  const put = async (kind: string, rows: Promise<readonly Row[]>) => {
    const counts = new Map<string, number>();
    for (const { about, ...rest } of await rows) {
      const name = labels.get(about) ?? about.replaceAll(`${stage.database.name}_`, '');
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      if (typeof rest['reason_code'] === 'string') stage.coverage.codes.add(rest['reason_code']);
      found.set(`${kind}${name}${count === 1 ? '' : ` #${String(count)}`}`, line(rest, normal));
    }
  };
  for (const [kind, rows] of Object.entries(views(sql))) await put(kind, rows);
  return found;
}

/** The queries: `about` is who, as a csr's id or a name; the columns are shown as they come, false and null not at all. */
function views(sql: postgres.Sql): Record<string, Promise<readonly Row[]>> {
  return {
    '': sql<Row[]>`
      select id::text as about, state, reason_code, nullif(attempts, 0) as attempts, next_attempt_at, renew_at,
             nullif(account, 'main') as account, profile, has_pending_request, has_certificate, is_expired,
             not_after, order_url is not null as has_order_url, renewal_reason is not null as has_renewal_reason,
             revoked_at is not null as is_revoked, last_problem
        from acme.csr_status order by id`,
    'order of ': sql<Row[]>`
      select csr_id::text as about, state, reason_code, nullif(attempts, 0) as attempts, next_attempt_at, last_problem
        from acme."order" order by id`,
    'authorization ': sql<Row[]>`
      select a.tenant || ' ' || coalesce(a.identifier, '-') as about, a.state, a.reason_code,
             nullif(a.attempts, 0) as attempts, a.next_attempt_at, a.is_wildcard, a.is_preauthorization, a.last_problem,
             c.state as challenge, r.state as record
        from acme.authorization a
        left join acme.challenge c on c.authorization_id = a.id
        left join acme.record r on r.challenge_id = c.id
       order by a.id, c.id, r.id`,
    'certificate of ': sql<Row[]>`
      select csr_id::text as about, state, reason_code, nullif(attempts, 0) as attempts, next_attempt_at,
             revocation_reason, revoke_when_replaced, is_unwanted, last_problem
        from acme.certificate order by id`,
    'account ': sql<Row[]>`
      select name as about, state, reason_code, nullif(attempts, 0) as attempts, next_attempt_at, url is not null as has_url,
             terms_agreed, has_pending_change, is_default, last_problem
        from acme.account_status order by id`,
    // (Not those about workers and sessions, which live by the real clock.)
    'attention ': sql<Row[]>`
      select coalesce(a.csr_id::text, a.account, a.server, '-') as about, a.code as state, a.severity
        from acme.attention a
       where a.worker is null and a.code <> 'changes_frozen'
       order by a.csr_id, a.code`,
    'cooldown ': sql<Row[]>`
      select concat_ws(' ', scope, server, account, value) as about, limit_name, until from acme.cooldown order by id`,
    'name ': sql<Row[]>`
      select name as about, tenant as owner from acme.name_owner order by name, tenant`,
    'paused ': sql<Row[]>`
      select csr_id::text as about from acme.paused_csr order by csr_id`,
    'to do ': sql<Row[]>`
      select identifier as about, action, csr_id is not null as has_csr from acme.challenge_todo order by id`,
    'stuck ': sql<Row[]>`
      select kind as about, reason_code from acme.stuck order by kind, id`,
    'requests ': sql<Row[]>`
      select 'waiting' as about, count(*)::int as count
        from (select from acme.csr_status where has_pending_request
              union all select from acme.account_status where has_pending_change) q having count(*) > 0`,
  };
}

function line(row: Record<string, unknown>, normal: Normal): string {
  const { state, ...rest } = row;
  const parts = Object.entries(rest).flatMap(([key, value]) => {
    if (value === null || value === false) return [];
    if (value === true) return [key];
    const told =
      value instanceof Date || value === Infinity
        ? normal.time(value as Date)
        : normal.value(value, key);
    return told === undefined || told === null || told === '{}'
      ? []
      : [told === '' ? key : `${key} ${told}`];
  });
  return [...(typeof state === 'string' ? [state] : []), ...parts].join(', ');
}
