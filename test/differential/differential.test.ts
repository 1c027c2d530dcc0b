import { describe, expect, test } from 'vitest';
import { scale, scaled } from '../helpers/scale.ts';
import {
  differences,
  intended,
  isUpdating,
  names,
  recorded,
  unmatched,
  write,
} from './helpers/compare.ts';
import { type Coverage, reachable } from './helpers/coverage.ts';
import { DIRECTED } from './helpers/directed.ts';
import { drawn } from './helpers/generate.ts';
import { play } from './helpers/play.ts';
import { INTENDED } from './intended.ts';

/** So many seeds have a record in the repository. */
const SEEDS = 30;

const seeds = Array.from(
  { length: isUpdating ? scaled(SEEDS, SEEDS) : scaled(SEEDS, 5) },
  (_, at) => at + 1,
);
const coverage: Coverage = { events: new Set(), codes: new Set(), transitions: new Set() };

/** Those that the repository has no record of are in a folder that it does not keep. */
const nameOf = (seed: number): string =>
  `${seed > SEEDS ? 'more/' : ''}seed-${String(seed).padStart(2, '0')}`;

describe.concurrent('what a script does is what it did on the commit of its record', () => {
  test.each(Object.keys(DIRECTED))('directed: %s', async (name) => {
    await compare(name, () => DIRECTED[name]?.(coverage) ?? Promise.reject(new Error(name)));
  });

  test.each(seeds)('seed %i', async (seed) => {
    await compare(nameOf(seed), () => play(drawn(seed), coverage));
  });
});

test('each intended difference changes a record', () => {
  const texts = names().map((name) => recorded(name) ?? '');
  expect(unmatched(texts)).toEqual([]);
  expect(INTENDED.filter(({ reason }) => reason.length < 20)).toEqual([]);
});

test('each record in the repository is of a script', () => {
  const scripts = Array.from({ length: SEEDS }, (_, at) => nameOf(at + 1));
  expect(names()).toEqual([...scripts, ...Object.keys(DIRECTED)].sort());
});

test('a difference is told by its step', () => {
  const was = 'one inserts c1\n  c1: issued\n  order of c1: issued\nrenew c1\n  c1: issued\n';
  expect(differences(was, was)).toBe('');
  expect(differences(was, was.replace('renew c1\n  c1: issued', 'renew c1\n  c1: failed'))).toBe(
    'step 2\n  renew c1\n-   c1: issued\n+   c1: failed',
  );
  const rules = [
    { reason: 'the event has a new name', match: /\bissued\b/g, becomes: 'ready' },
    { reason: 'nothing has this', match: /\bnever\b/g, becomes: '' },
  ];
  expect(intended(was, rules)).toContain('order of c1: ready');
  expect(unmatched([was], rules)).toEqual([rules[1]]);
});

test('the scripts reach as many events, reason codes and transitions as when they were recorded', () => {
  const all = reachable();
  const missing: string[] = [];
  const counts = (Object.keys(all) as (keyof Coverage)[]).map((kind) => {
    const left = [...all[kind]].filter((one) => !coverage[kind].has(one)).sort();
    missing.push(...left.map((one) => `${kind}: ${one}`));
    return { kind, reached: all[kind].size - left.length, of: all[kind].size };
  });
  const text = [
    ...counts.map(({ kind, reached, of }) => `${kind} ${String(reached)} of ${String(of)}`),
    ...missing.map((one) => `not ${one}`),
  ].join('\n');
  if (isUpdating) write('coverage', `${text}\n`);
  // With fewer seeds than were recorded there is less.
  if (scale < 1) return;
  for (const { kind, reached, of } of counts) {
    const [, before, whole] =
      new RegExp(`^${kind} (\\d+) of (\\d+)$`, 'm').exec(recorded('coverage') ?? '') ?? [];
    const isFewer = reached / of < Number(before) / Number(whole);
    if (isFewer) {
      expect.fail(`Fewer ${kind} than the ${before ?? '?'} of ${whole ?? '?'} before:\n${text}`);
    }
  }
});

/** Plays a script and compares; a seed that has no record is played twice, and has to do the same. */
async function compare(name: string, run: () => Promise<string>): Promise<void> {
  const text = await run();
  if (isUpdating) {
    write(name, text);
    return;
  }
  const before = recorded(name);
  if (before === undefined && !name.startsWith('more/')) {
    expect.fail(`There is no record of ${name}: PGACME_UPDATE_DIFFERENTIAL=1 writes it.`);
  }
  const told = differences(intended(before ?? (await run())), text);
  if (told !== '') expect.fail(`${name} differs from its record (-: the record, +: now)\n${told}`);
}
