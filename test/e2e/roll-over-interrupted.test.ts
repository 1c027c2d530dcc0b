import { describe, expect, test } from 'vitest';
import { account, events, once, valid } from '../helpers/account.ts';
import type { AcmeServer } from '../helpers/acme-server/index.ts';
import { until } from '../helpers/until.ts';
import { faultyWorld, freshName, type World } from '../helpers/world.ts';

type FaultyWorld = World & { ca: AcmeServer };

async function rollingWorld(): Promise<FaultyWorld & { url: string; thumbprint: string }> {
  const world = await faultyWorld();
  await world.worker();
  const { url, thumbprint } = await valid(world);
  return { ...world, url, thumbprint };
}

/** The answer to a key change is held until the test gives it free. */
function hold(ca: AcmeServer, phase: 'before' | 'after') {
  let answer = (): void => undefined;
  const held = ca.on('keyChange', {
    phase,
    until: new Promise<void>((resolve) => (answer = resolve)),
  });
  return {
    asked: () => until(() => held.hits === 1, { what: 'the new key is sent' }),
    answer: () => answer(),
  };
}

const isLook = ({ payload }: { payload?: unknown }) => payload === '';

const rolledOver = (world: FaultyWorld & { thumbprint: string }) =>
  once(
    world,
    (row) => row.state === 'valid' && row.thumbprint !== world.thumbprint,
    'its key is rolled over',
  );

const issues = async (world: World) =>
  world.reach(await world.insert({ names: [freshName()] }), 'issued');

test('an account that the server lost meanwhile is registered again, and then gets its new key', async () => {
  const world = await rollingWorld();
  const { asked, answer } = hold(world.ca, 'before');
  await world.sql`select acme.roll_over_key('main')`;
  await asked();
  world.ca.forgetAccounts();
  answer();
  const after = await rolledOver(world);
  expect(after).toMatchObject({ reason_code: null, has_pending_change: false });
  expect(after.url).not.toBe(world.url);
  expect(world.ca.account(after.url)).toMatchObject({ thumbprint: after.thumbprint });
  expect((await events(world)).slice(2)).toEqual([
    'account_roll_over_asked',
    'account_pending_key_made',
    'account_lost',
    'account_registered',
    'account_roll_over_asked',
    'account_key_rolled_over',
  ]);
  await issues(world);
});

describe('an account that has to agree to new terms meanwhile', () => {
  test.each([
    ['before the server changes the key', 'before'],
    ['after the server changed the key', 'after'],
  ] as const)('%s: it waits, and goes on when a person agreed', async (_, phase) => {
    const world = await rollingWorld();
    const { ca } = world;
    const refusal = {
      problem: { type: 'userActionRequired', status: 403, detail: 'The terms have changed' },
      headers: { link: '<https://ca.example/terms/v2>;rel="terms-of-service"' },
      times: Infinity,
    };
    ca.options.termsOfService = 'https://ca.example/terms/v2';
    const mustAgree = () => ca.account(world.url).agreedTerms !== ca.options.termsOfService;
    ca.on('keyChange', { ...refusal, phase, when: mustAgree });
    ca.on('account', { ...refusal, when: (request) => isLook(request) && mustAgree() });
    await world.sql`select acme.roll_over_key('main')`;
    const waits = await once(world, ({ state }) => state === 'needs_person', 'it waits');
    expect(waits).toMatchObject({
      reason_code: 'user_action_required',
      terms_url: 'https://ca.example/terms/v2',
      thumbprint: world.thumbprint,
      has_pending_change: true,
    });
    expect(waits.reason).toContain('The terms have changed');
    await world.sql`select acme.agree_terms('main')`;
    const after = await rolledOver(world);
    expect(after).toMatchObject({ reason_code: null, url: world.url });
    expect(ca.account(world.url)).toMatchObject({ thumbprint: after.thumbprint });
    expect(ca.store.accounts.size).toBe(1);
    await issues(world);
  });
});

describe('an account that is deactivated meanwhile is closed at the server', () => {
  /** Nobody finds out what became of the key change. */
  async function inDoubt(phase: 'before' | 'after') {
    const world = await rollingWorld();
    const broken = { type: 'serverInternal', status: 500, detail: 'broken' };
    const lost = world.ca.on('keyChange', { phase, cut: 'before-headers', times: Infinity });
    world.ca.on('account', { problem: broken, when: isLook, times: Infinity });
    await world.sql`select acme.roll_over_key('main')`;
    await until(() => lost.hits > 0, { what: 'the new key is sent' });
    if (phase === 'after') {
      await until(() => world.ca.account(world.url).thumbprint !== world.thumbprint, {
        what: 'the server has it',
      });
    }
    return world;
  }

  const isClosed = async (world: FaultyWorld & { url: string }) => {
    await once(world, ({ state }) => state === 'deactivated', 'it is deactivated');
    expect(world.ca.account(world.url).status).toBe('deactivated');
    expect(await events(world, 'account_deactivated')).toHaveLength(1);
  };

  test.each([
    ['with its old key, where the new one did not arrive', 'before'],
    ['with its new key, where only the answer was lost', 'after'],
  ] as const)('%s', async (_, phase) => {
    const world = await inDoubt(phase);
    await world.sql`select acme.deactivate_account('main')`;
    await isClosed(world);
    expect(await events(world, 'account_key_rolled_over')).toHaveLength(0);
  });

  test('once the key change that is under way has its answer', async () => {
    const world = await rollingWorld();
    const { asked, answer } = hold(world.ca, 'after');
    await world.sql`select acme.roll_over_key('main')`;
    await asked();
    await world.sql`select acme.deactivate_account('main')`;
    expect(await account(world)).toMatchObject({ state: 'rolling_over' });
    answer();
    await isClosed(world);
  });
});
