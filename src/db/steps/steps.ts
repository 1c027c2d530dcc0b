import type { Sql } from './connect.ts';
import { crashPoint } from './crash-point.ts';
import { LostAnswers } from './lost-answers.ts';
import type {
  AccountClaim,
  AccountFacts,
  AccountRecord,
  AccountRef,
  AuthorizationClaim,
  AuthorizationFacts,
  CertificateClaim,
  CertificateFacts,
  ChosenChallenge,
  Claim,
  CsrOfOrder,
  Dispatched,
  Failure,
  OfferedChallenge,
  OrderClaim,
  OrderFacts,
  ReadOrder,
  SealedKey,
  ServerFact,
  ServerRecord,
  StepReport,
  StoredKey,
  Verdict,
} from './step-types.ts';

export type * from './step-types.ts';

type Query = PromiseLike<readonly Record<string, unknown>[]>;

/**
 * The worker's side of the step protocol: claims and commits, one SQL function and one round trip
 * each. What the functions promise is said beside them, in sql/api. `take`: how
 * many claims this worker goes on with; 0 when it stops.
 */
export class Steps {
  readonly #sql: Sql;
  readonly #slow: Sql;
  readonly #report: StepReport | undefined;
  readonly #lost: LostAnswers;
  readonly worker: number;

  /** `slow`: a pool with more patience, for what touches many rows; `report`: told what became of steps. */
  constructor(sql: Sql, worker: number, options: { slow?: Sql; report?: StepReport } = {}) {
    this.#lost = new LostAnswers(sql, worker, async ({ kind, id, lease }) => {
      await commit('release', sql`select acme_private.release(${kind}, ${id}, ${lease})`);
    });
    this.#sql = this.#lost.sql;
    this.#slow = options.slow ?? sql;
    this.worker = worker;
    this.#report = options.report;
  }

  /** The work under this lease is over, whatever came of it. */
  forget(lease: string): void {
    this.#lost.forget(lease);
  }

  /** Takes the lease of a row; null: nothing to do. */
  async claim(kind: Claim['kind'], id: number): Promise<Claim | null> {
    const asked = performance.now();
    const claim = await commit<Claim | null>(
      'claim',
      this.#sql`select acme_private.claim(${this.worker}, ${kind}, ${id}) as value`,
    );
    return claim && { ...claim, asked_at: asked };
  }

  /** Gives the lease back without a result. */
  async release({
    kind,
    id,
    lease,
  }: Pick<Claim, 'id' | 'lease'> & { kind: Claim['kind'] | 'csr' }): Promise<void> {
    await commit('release', this.#sql`select acme_private.release(${kind}, ${id}, ${lease})`);
  }

  /** One turn of the dispatcher: stores verdicts, takes what was received, admits. */
  async dispatch(lease: string | null, verdicts: Verdict[], take: number): Promise<Dispatched> {
    const asked = performance.now();
    const turn = await commit<Dispatched>(
      lease === null ? 'dispatch' : 'verdicts',
      this.#sql`
        select acme_private.dispatch(${this.worker}, ${lease}, ${this.#json(verdicts)}, ${take}) as value`,
    );
    return { ...turn, claims: stamped(turn.claims, asked) };
  }

  /** Acts on an application's requests for a csr, or on its next try being due. */
  async attend(csr: number, take: number): Promise<Claim[]> {
    return claimed(
      'attend',
      this.#sql`select acme_private.attend(${this.worker}, ${csr}, ${take}) as value`,
    );
  }

  async accountRecord(id: number): Promise<AccountRecord> {
    return valueOf<AccountRecord>(
      await this.#sql`select acme_private.account_for_worker(${id}) as value`,
    );
  }

  /** False: the lease is gone, so the key must not be used. */
  async accountKeyStored(claim: AccountClaim, key: StoredKey): Promise<boolean> {
    return commit<boolean>(
      'account_key_stored',
      this.#sql`
        select acme_private.account_key_stored(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${key.jwe}, ${key.thumbprint}, ${key.spki}) as value`,
    );
  }

  async accountRegistered(
    claim: AccountClaim,
    facts: { url: string; status: string; termsUrl: string | undefined },
  ): Promise<void> {
    await commit(
      'account_registered',
      this.#sql`
        select acme_private.account_registered(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${facts.url}, ${facts.status}, ${facts.termsUrl ?? null})`,
    );
  }

  async accountUpdated(claim: AccountClaim, facts: AccountFacts): Promise<void> {
    await commit(
      'account_updated',
      this.#sql`
        select acme_private.account_updated(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(facts)})`,
    );
  }

  /** False: the lease is gone, so the key must not be used. */
  async accountPendingKey(claim: AccountClaim, key: StoredKey): Promise<boolean> {
    return commit<boolean>(
      'account_pending_key',
      this.#sql`
        select acme_private.account_pending_key(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${key.jwe}, ${key.thumbprint}, ${key.spki}) as value`,
    );
  }

  /** null: the pending key may be sent, and counts as sent from now on; else the standbys that it waits for. */
  async accountKeyReady(claim: AccountClaim): Promise<string | null> {
    return commit<string | null>(
      'account_key_ready',
      this.#sql`
        select acme_private.account_key_ready(${this.worker}, ${claim.id}, ${claim.lease}) as value`,
    );
  }

  async accountRolledOver(claim: AccountClaim): Promise<void> {
    await commit(
      'account_rolled_over',
      this
        .#sql`select acme_private.account_rolled_over(${this.worker}, ${claim.id}, ${claim.lease})`,
    );
  }

  /** The server has taken a key after all that it had been sent and seemed to refuse. */
  async accountKeyFound(claim: AccountClaim, key: number): Promise<void> {
    await commit(
      'account_key_found',
      this
        .#sql`select acme_private.account_key_found(${this.worker}, ${claim.id}, ${claim.lease}, ${key})`,
    );
  }

  async accountRollOverRefused(
    claim: AccountClaim,
    outcome: { code: string; text: string; problem?: unknown },
  ): Promise<void> {
    await commit(
      'account_roll_over_refused',
      this.#sql`
        select acme_private.account_roll_over_refused(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(outcome)})`,
    );
  }

  async accountDeactivated(claim: AccountClaim, status: string): Promise<void> {
    await commit(
      'account_deactivated',
      this.#sql`
        select acme_private.account_deactivated(${this.worker}, ${claim.id}, ${claim.lease}, ${status})`,
    );
  }

  /** urls null: the server has no list, or (text) it could not be read. */
  async ordersListed(claim: AccountClaim, urls: string[] | null, text?: string): Promise<void> {
    await commit(
      'orders_listed',
      this.#sql`
        select acme_private.orders_listed(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(urls)}, ${text ?? null})`,
    );
  }

  /** The account's live csrs with just these names, for each of several orders. */
  async csrsOfOrders(claim: AccountClaim, names: string[][]): Promise<CsrOfOrder[]> {
    return valueOf<CsrOfOrder[]>(
      await this
        .#sql`select acme_private.csrs_of_orders(${claim.id}, ${this.#json(names)}) as value`,
    );
  }

  async ordersRead(claim: AccountClaim, results: ReadOrder[]): Promise<void> {
    await commit(
      'orders_read',
      this.#sql`
        select acme_private.orders_read(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(results)})`,
    );
  }

  async orderCreated(claim: OrderClaim, facts: OrderFacts, take: number): Promise<Claim[]> {
    return claimed(
      'order_created',
      this.#sql`
        select acme_private.order_created(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(facts)}, ${take}) as value`,
    );
  }

  /** Takes the name for the tenant. null: the lease is gone. */
  async authorizationNamed(
    claim: AuthorizationClaim,
    domain: string,
  ): Promise<{ refused?: Pick<Failure, 'code' | 'text'> } | null> {
    return commit<{ refused?: Pick<Failure, 'code' | 'text'> } | null>(
      'authorization_named',
      this.#sql`
        select acme_private.authorization_named(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${domain}) as value`,
    );
  }

  async authorizationCreated(
    claim: AuthorizationClaim,
    url: string,
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      'authorization_created',
      this.#sql`
        select acme_private.authorization_created(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${url}, ${take}) as value`,
    );
  }

  /** null: the lease is gone. */
  async challengeIntended(
    claim: AuthorizationClaim,
    facts: AuthorizationFacts & { offered: OfferedChallenge[] },
  ): Promise<{ challenge: ChosenChallenge } | { refused: string } | null> {
    return commit<{ challenge: ChosenChallenge } | { refused: string } | null>(
      'challenge_intended',
      this.#sql`
        select acme_private.challenge_intended(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${claim.solver}, ${this.#json(facts)}) as value`,
    );
  }

  async authorizationProved(
    claim: AuthorizationClaim,
    facts: AuthorizationFacts,
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      'authorization_proved',
      this.#sql`
        select acme_private.authorization_proved(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(facts)}, ${take}) as value`,
    );
  }

  /** `state`: what the server says that the authorization is now. */
  async authorizationDeactivated(
    claim: AuthorizationClaim,
    state: string,
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      'authorization_deactivated',
      this.#sql`
        select acme_private.authorization_deactivated(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${state}, ${take}) as value`,
    );
  }

  /** certificateUrl undefined: the server is still issuing; wasSent: since just now. */
  async orderFinalized(
    claim: OrderClaim,
    {
      certificateUrl,
      wasSent,
      retryAfterMs,
    }: { certificateUrl?: string | undefined; wasSent: boolean; retryAfterMs?: number | undefined },
    take: number,
  ): Promise<Claim[]> {
    return claimed(
      'order_finalized',
      this.#sql`
        select acme_private.order_finalized(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${certificateUrl ?? null}, ${wasSent},
          ${retryAfterMs ?? null}, ${take}) as value`,
    );
  }

  async certificateStored(
    claim: OrderClaim,
    certificate: CertificateFacts,
    take: number,
  ): Promise<Claim[]> {
    const claims = await claimed(
      'certificate_stored',
      this.#sql`
        select acme_private.certificate_stored(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(certificate)}, ${take}) as value`,
    );
    this.#report?.issued(claim, certificate);
    return claims;
  }

  /** A renewal may have to wait for this window; null: it is time. */
  async renewalWindow(
    claim: OrderClaim,
    window: { start: string; end: string },
    take: number,
  ): Promise<Claim[] | null> {
    const asked = performance.now();
    const claims = await commit<Claim[] | null>(
      'renewal_window',
      this.#sql`
        select acme_private.renewal_window(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${this.#json(window)}, ${take}) as value`,
    );
    return claims && stamped(claims, asked);
  }

  async abandonedAuthorizations(order: number): Promise<{ id: number; url: string }[]> {
    return valueOf<{ id: number; url: string }[]>(
      await this.#sql`select acme_private.abandoned_authorizations(${order}) as value`,
    );
  }

  async orderCancelled(claim: OrderClaim, deactivated: number[], take: number): Promise<Claim[]> {
    return claimed(
      'order_cancelled',
      this.#sql`
        select acme_private.order_cancelled(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${`{${deactivated.join()}}`}, ${take}) as value`,
    );
  }

  /** Other accounts that may revoke: they hold valid authorizations for all of its names. */
  async accountsForRevocation(claim: CertificateClaim): Promise<AccountRef[]> {
    return valueOf<AccountRef[]>(
      await this
        .#sql`select acme_private.accounts_for_revocation(${claim.id}, ${claim.account_id}) as value`,
    );
  }

  /** `account`: who signed; `wasRevoked`: the server knew it already. */
  async certificateRevoked(
    claim: CertificateClaim,
    { account, wasRevoked }: { account: number; wasRevoked: boolean },
  ): Promise<void> {
    await commit(
      'certificate_revoked',
      this.#sql`
        select acme_private.certificate_revoked(
          ${this.worker}, ${claim.id}, ${claim.lease}, ${account}, ${wasRevoked})`,
    );
  }

  async stepFailed(claim: Claim, failure: Failure, take: number): Promise<Claim[]> {
    this.#report?.failed(claim, failure);
    return claimed(
      'step_failed',
      this.#sql`
        select acme_private.step_failed(
          ${this.worker}, ${claim.kind}, ${claim.id}, ${claim.lease}, ${this.#json({ account_id: claim.account_id, account_version: claim.account_version, ...failure })}, ${take}) as value`,
    );
  }

  /** Servers that are to be asked for their directory. */
  async serversToLookAt(): Promise<ServerRecord[]> {
    return valueOf<ServerRecord[]>(
      await this.#sql`select acme_private.servers_to_look_at(${this.worker}) as value`,
    );
  }

  /** reason: why a server did not give its directory; null: it did. */
  async serverAnswered(server: number, reason: string | null): Promise<void> {
    await commit(
      'server_answered',
      this.#sql`select acme_private.server_answered(${server}, ${reason})`,
    );
  }

  /** Some of the account keys in use. */
  async keysToOpen(): Promise<SealedKey[]> {
    return valueOf<SealedKey[]>(await this.#sql`select acme_private.keys_to_open() as value`);
  }

  async serverFactsStored(
    server: number,
    how: 'directory' | 'seen' | 'tried',
    facts: readonly ServerFact[],
  ): Promise<void> {
    await commit(
      'server_facts_stored',
      this.#sql`
        select acme_private.server_facts_stored(
          ${this.worker}, ${server}, ${how}, ${this.#json(facts)})`,
    );
  }

  async reconcile(): Promise<void> {
    await commit('reconcile', this.#slow`select acme_private.reconcile()`);
  }

  // postgres.js types a json parameter as jsonb, which is what every function here takes.
  #json(value: unknown) {
    return this.#sql.json(value as Parameters<Sql['json']>[0]);
  }
}

/** Every commit goes through here, under a name of its own; a query is sent when it is awaited. */
async function commit<T>(name: string, query: Query): Promise<T> {
  crashPoint(`${name}.committing`);
  const rows = await query;
  crashPoint(`${name}.committed`);
  return valueOf<T>(rows);
}

async function claimed(name: string, query: Query): Promise<Claim[]> {
  const asked = performance.now();
  return stamped(await commit<Claim[]>(name, query), asked);
}

function valueOf<T>(rows: readonly Record<string, unknown>[]): T {
  return rows[0]?.['value'] as T;
}

function stamped(claims: Claim[], asked: number): Claim[] {
  return claims.map((claim) => ({ ...claim, asked_at: asked }));
}
