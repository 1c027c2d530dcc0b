import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One source of packages as apt's deb822 format has it: field names in lower case. */
export type AptSource = ReadonlyMap<string, string>;

// Options that would let apt take what is not signed; a private copy of a source never carries them.
const UNSIGNED = /^(trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure)$/;

/** The machine's own sources (`sources.list`, `sources.list.d`), one-line and deb822, `deb` only. */
export async function machineSources(etc = '/etc/apt'): Promise<AptSource[]> {
  const parts = join(etc, 'sources.list.d');
  const names = (await readdir(parts).catch(() => [])).sort();
  const sources = parseOneLine(await read(join(etc, 'sources.list')));
  for (const name of names) {
    const text = await read(join(parts, name));
    if (name.endsWith('.list')) sources.push(...parseOneLine(text));
    if (name.endsWith('.sources')) sources.push(...parseDeb822(text));
  }
  return sources;
}

/** Sources of the distribution's own archive: a suite of the running release, component `main`. */
export function archiveSources(sources: readonly AptSource[], codename: string): AptSource[] {
  const releases = new Set([codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid']);
  const own = (suite: string) =>
    releases.has(suite.replace(/(-updates|-security|\/updates|-backports|-proposed.*)$/, ''));
  return sources.filter(
    (source) => words(source, 'suites').some(own) && words(source, 'components').includes('main'),
  );
}

/** The same archives with another suite: only those that carry the release itself, not its updates. */
export function withSuite(
  sources: readonly AptSource[],
  codename: string,
  suite: string,
): AptSource[] {
  const releases = new Set([codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid']);
  return sources
    .filter((source) => words(source, 'suites').some((word) => releases.has(word)))
    .map((source) => new Map([...source, ['suites', suite], ['components', 'main']]));
}

/** Writes sources as a `.sources` file. */
export function formatSources(sources: readonly AptSource[]): string {
  return sources
    .map((source) => [...source].map(([name, value]) => `${name}: ${value}\n`).join(''))
    .join('\n');
}

/** Reads the deb822 form: stanzas of `Field: value` with indented further lines. */
export function parseDeb822(text: string): AptSource[] {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  const stanzas = lines.join('\n').split(/\n[ \t]*\n/);
  return stanzas.flatMap((stanza) => {
    const fields = new Map<string, string>();
    let last: string | undefined;
    for (const line of stanza.split('\n')) {
      const field = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
      if (field?.[1] !== undefined && field[2] !== undefined) {
        last = field[1].toLowerCase();
        fields.set(last, field[2].trim());
      } else if (last !== undefined && /^[ \t]/.test(line)) {
        fields.set(last, `${fields.get(last) ?? ''}\n${line}`);
      }
    }
    return usable(fields);
  });
}

/** Reads the one-line form: `deb [option=value …] uri suite component …`. */
export function parseOneLine(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const found = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!found) return [];
    const [, options = '', uri = '', suite = '', components = ''] = found;
    const fields = new Map([['types', 'deb']]);
    for (const option of options.split(/\s+/)) {
      const [, name, value] = /^([a-z-]+)=(.*)$/i.exec(option) ?? [];
      if (name === undefined || value === undefined) continue;
      const field = name.toLowerCase() === 'arch' ? 'architectures' : name.toLowerCase();
      fields.set(field, value.replaceAll(',', ' '));
    }
    fields.set('uris', uri).set('suites', suite).set('components', components.trim());
    return usable(fields);
  });
}

function usable(fields: Map<string, string>): AptSource[] {
  const types = words(fields, 'types');
  if (!types.includes('deb') || fields.get('enabled')?.toLowerCase() === 'no') return [];
  if (words(fields, 'uris').length === 0 || words(fields, 'uris').some(isDisc)) return [];
  for (const name of fields.keys()) if (UNSIGNED.test(name)) fields.delete(name);
  return [fields.set('types', 'deb')];
}

const isDisc = (uri: string) => uri.startsWith('cdrom:');

function words(source: AptSource, field: string): string[] {
  return (source.get(field) ?? '').split(/\s+/).filter((word) => word !== '');
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}
