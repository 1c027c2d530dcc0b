import { type Mode, MODES } from './modes.ts';
import { type Play, TIMES } from './play.ts';
import { type Tenant, TENANTS } from './stage.ts';

/** How many steps a drawn script has. */
const STEPS = 12;

/** A script drawn from a seed: the same seed, the same script. */
export function drawn(seed: number): (play: Play) => Promise<void> {
  return async (play) => {
    const chance = new Chance(seed);
    const labels: string[] = [];
    for (let n = 0; n < 2; n++) labels.push(await insert(play, chance));
    for (let step = 1; step < STEPS; step++) await move(play, chance, labels);
    // In the end all is well again, and what waits for a time comes to it.
    await play.ca('is well');
    await play.pass('two hours');
    await play.pass('a day');
  };
}

type Move = (play: Play, chance: Chance, labels: string[]) => Promise<unknown>;

const some =
  (act: (play: Play, label: string, chance: Chance) => Promise<unknown>): Move =>
  (play, chance, labels) =>
    act(play, chance.of(labels), chance);

const MOVES: readonly (readonly [number, Move])[] = [
  [7, async (play, chance, labels) => labels.push(await insert(play, chance))],
  [8, (play, chance) => play.ca(chance.of(Object.keys(MODES) as Mode[]))],
  [5, (play) => play.ca('is well')],
  [9, (play, chance) => play.pass(chance.of(Object.keys(TIMES) as (keyof typeof TIMES)[]))],
  [4, some((play, label) => play.ask(label, 'retry'))],
  [5, some((play, label) => play.ask(label, 'renew'))],
  [2, some((play, label) => play.ask(label, 'cancel'))],
  [1, some((play, label, chance) => play.request(label, chance.of(['return', 'renew', 'refuse'])))],
  [
    1,
    some((play, label, chance) =>
      play.update(label, chance.of([{ priority: 5 }, { renewal: 'off' }, { renewal: 'reuse' }])),
    ),
  ],
  [1, some((play, label) => play.delete(label))],
  [2, some((play, label, chance) => play.revoke(label, chance.of(REASONS), chance.below(3) === 0))],
  [1, some((play, label, chance) => play.revokeCertificate(label, chance.of(REASONS)))],
  [1, (play, chance) => releaseDomain(play, chance)],
  [1, (play, chance) => byName(chance, (tenant, name) => play.preauthorize(tenant, name))],
  [1, (play, chance) => byName(chance, (tenant, name) => play.deactivate(tenant, name))],
  [
    2,
    (play, chance) =>
      byName(chance, (_, name) => play.moveName(name, chance.of([...TENANTS, null]))),
  ],
  [2, (play, chance) => scoped(chance, (scope, name) => play.pause(scope, name))],
  [3, (play, chance) => scoped(chance, (scope, name) => play.resume(scope, name))],
  [1, some((play, label) => play.resume('csr', label))],
  [1, (play) => play.resume('domain', 'one.example')],
  [1, (play) => play.account('roll_over_key', 'main')],
  [1, (play) => play.account('agree_terms', 'main')],
  [1, (play) => play.account('verify_account', 'main')],
  [
    1,
    (play, chance) =>
      play.updateAccount('main', { contact: [`mailto:${chance.of(['a', 'b'])}@example.org`] }),
  ],
  [1, (play, chance) => replaceAccount(play, chance)],
  [1, (play) => play.happens('forgets its accounts', (ca) => ca.forgetAccounts())],
  [1, (play) => play.happens('forgets its orders', (ca) => ca.forgetOrders())],
  [
    1,
    (play) =>
      play.happens(
        'has new terms',
        (ca) => (ca.options.termsOfService = 'https://ca.example/terms/v2'),
      ),
  ],
];

const REASONS = ['superseded', 'keyCompromise', 'cessationOfOperation'] as const;
const SCOPES: readonly (readonly [string, string])[] = [
  ['server', 'ca'],
  ['account', 'main'],
];

const TOTAL = MOVES.reduce((sum, [weight]) => sum + weight, 0);

async function move(play: Play, chance: Chance, labels: string[]): Promise<void> {
  let at = chance.below(TOTAL);
  for (const [weight, act] of MOVES) {
    at -= weight;
    if (at < 0) {
      await act(play, chance, labels);
      return;
    }
  }
}

/** Names of a tenant's own, and one that every tenant asks for. */
function insert(play: Play, chance: Chance): Promise<string> {
  const tenant = chance.of(TENANTS);
  const names = chance.of([
    [`a.${tenant}.example`],
    [`b.${tenant}.example`],
    [`c.${tenant}.example`],
    [`pair-1.${tenant}.example`, `pair-2.${tenant}.example`],
    ['shared.example'],
  ]);
  const columns = chance.of([
    {},
    {},
    {},
    { priority: 3 },
    { renewal: 'off' },
    { profile: 'short' },
  ]);
  return play.insert(tenant, names, columns);
}

function byName(
  chance: Chance,
  act: (tenant: Tenant, name: string) => Promise<void>,
): Promise<void> {
  const tenant = chance.of(TENANTS);
  return act(tenant, chance.of([`a.${tenant}.example`, `b.${tenant}.example`, 'shared.example']));
}

function scoped(
  chance: Chance,
  act: (scope: string, name: string) => Promise<void>,
): Promise<void> {
  const [scope, name] = chance.of(SCOPES);
  return act(scope, name);
}

function releaseDomain(play: Play, chance: Chance): Promise<void> {
  const tenant = chance.of(TENANTS);
  return play.releaseDomain(tenant, `${tenant}.example`, chance.below(2) === 0);
}

async function replaceAccount(play: Play, chance: Chance): Promise<void> {
  const name = `spare-${String(chance.below(1000))}`;
  await play.addAccount(name);
  await play.replaceAccount('main', name);
}

/** Numbers that a seed decides (mulberry32). */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 0x9e3779b9;
  }

  below(count: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % count;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}
