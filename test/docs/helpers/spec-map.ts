import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Exported, exportsOf, importsOf } from './exports.ts';

const ROOT = join(import.meta.dirname, '../../..');
const MODULES = ['src/acme/index.ts', 'pgacme/acme'];
const MAX_TESTS = 2;

/** An export with the sections that its comment cites, and the tests that use it. */
export interface Mapped extends Exported {
  sections: string[];
  tests: string[];
}

/** Every export of src/acme, in the order of the sections. */
export async function specMap(): Promise<Mapped[]> {
  const exported = await exportsOf(join(ROOT, 'src/acme/index.ts'));
  const importers = await importersByName();
  const mapped = exported.map((each) => ({
    ...each,
    sections: sectionsOf(each.comment),
    tests: testsOf(each.name, exported, importers),
  }));
  return mapped.sort((a, b) => compare(a.sections[0] ?? '', b.sections[0] ?? ''));
}

/** The table of docs/spec-map.md. */
export function table(mapped: readonly Mapped[]): string {
  const rows = mapped.map(({ name, kind, sections, tests }) => {
    // RFC 8555 §7.3, §7.3.1: a text is named once.
    const cited = sections.map((each, at) => {
      const [text, section] = each.split(' §');
      const isSame = section !== undefined && sections[at - 1]?.startsWith(`${text} §`);
      return isSame ? `§${section}` : each;
    });
    const title = kind === 'function' ? `${name}()` : name;
    // Tests of other parts are named where the library has none of its own.
    const own = tests.filter((path) => rank(path) <= Math.max(1, rank(tests[0] ?? '')));
    const links = own
      .slice(0, MAX_TESTS)
      .map((path) => `[${path.replace(/^test\//, '')}](../${path})`);
    const anchor = name.toLowerCase();
    return `| [\`${title}\`](api/README.md#${anchor}) | ${cited.join(', ')} | ${links.join(', ')} |`;
  });
  return ['| export | sections | tests |', '| --- | --- | --- |', ...rows].join('\n');
}

/** `RFC 8555 §7.3, §7.3.1` as it stands in comments: a section belongs to the text named before it. */
export function sectionsOf(comment: string): string[] {
  const found: string[] = [];
  let text: string | undefined;
  for (const [match] of comment.matchAll(
    /RFC \d{4,5}|draft-[a-z]+(-[a-z]+)*(-\d\d)?|§\d+(\.\d+)*/g,
  )) {
    if (!match.startsWith('§')) text = match;
    if (match.startsWith('draft-')) found.push(match);
    else if (match.startsWith('§') && text !== undefined) {
      if (text.startsWith('RFC')) found.push(`${text} ${match}`);
      else found[found.length - 1] = `${text} ${match}`;
    }
  }
  return [...new Set(found)];
}

/** RFC 8555 first, then the other RFCs, then drafts; sections by number. */
function compare(a: string, b: string): number {
  const key = (text: string) => [
    text.startsWith('RFC 8555') ? 0 : text.startsWith('RFC') ? 1 : 2,
    ...[...text.matchAll(/\d+/g)].map(([digits]) => Number(digits)),
  ];
  const [left, right] = [key(a), key(b)];
  const at = left.findIndex((number, index) => number !== right[index]);
  return at < 0 ? left.length - right.length : (left[at] ?? 0) - (right[at] ?? -1);
}

/** Those that import it; for a type that none imports, those of the exports that speak of it. */
function testsOf(
  name: string,
  exported: readonly Exported[],
  importers: ReadonlyMap<string, string[]>,
  seen: ReadonlySet<string> = new Set(),
): string[] {
  const own = importers.get(name) ?? [];
  if (own.length > 0 || seen.has(name)) return own;
  if (exported.some((each) => each.name === name && each.kind === 'function')) return [];
  const users = exported.filter(
    (each) => each.name !== name && new RegExp(`\\b${name}\\b`).test(each.declaration),
  );
  const tests = users.flatMap((each) =>
    testsOf(each.name, exported, importers, new Set([...seen, name])),
  );
  return [...new Set(tests)].sort(byNearness);
}

async function importersByName(): Promise<ReadonlyMap<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const folder of FOLDERS) {
    const files = await readdir(join(ROOT, folder), { recursive: true });
    for (const file of files.filter((each) => each.endsWith('.ts')).sort()) {
      const path = `${folder}/${file}`;
      for (const name of await importsOf(join(ROOT, path), MODULES)) {
        found.set(name, [...(found.get(name) ?? []), path].sort(byNearness));
      }
    }
  }
  return found;
}

/** Where tests of the library are, its own first; those of other parts of pgacme come and go. */
const FOLDERS = ['test/acme', 'examples', 'test/helpers-tests'];

/** The library's own tests, its examples, then what tests are made with, and their tests. */
const NEARNESS = [/^test\/acme\/.*\.test\.ts$/, /^examples/, /^test\/acme/, /./];

function rank(path: string): number {
  return NEARNESS.findIndex((pattern) => pattern.test(path));
}

function byNearness(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}
