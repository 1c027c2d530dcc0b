import { expect, test } from 'vitest';
import {
  archiveSources,
  formatSources,
  parseDeb822,
  parseOneLine,
  withSuite,
} from '../../src/local/apt-sources.ts';

const ONE_LINE = `
# deb http://archive.invalid/debian old main
deb http://archive.invalid/debian bookworm main contrib # the release
deb-src http://archive.invalid/debian bookworm main
deb [arch=amd64,arm64 signed-by=/keys/a.gpg trusted=yes] http://archive.invalid/debian bookworm-updates main
deb cdrom:[Debian]/ bookworm main
deb [signed-by=/keys/b.gpg] https://other.invalid/apt tool-bookworm main
`;

const DEB822 = `# comment
Types: deb deb-src
URIs: http://archive.invalid/debian
Suites: bookworm bookworm-updates
# a comment between
Components: main
Allow-Insecure: yes
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://archive.invalid/debian-security
Suites: bookworm-security
Components: main
Enabled: no
`;

test('the one-line form is read: comments, options, no source packages, no discs', () => {
  const sources = parseOneLine(ONE_LINE).map((source) => Object.fromEntries(source));
  expect(sources.map((source) => source['suites'])).toEqual([
    'bookworm',
    'bookworm-updates',
    'tool-bookworm',
  ]);
  expect(sources[0]).toEqual({
    types: 'deb',
    uris: 'http://archive.invalid/debian',
    suites: 'bookworm',
    components: 'main contrib',
  });
  expect(sources[1]).toMatchObject({ architectures: 'amd64 arm64', 'signed-by': '/keys/a.gpg' });
});

test('the deb822 form is read, with a key in the text, and what is disabled is not', () => {
  const sources = parseDeb822(DEB822);
  expect(sources).toHaveLength(1);
  expect(sources[0]?.get('types')).toBe('deb');
  expect(sources[0]?.get('signed-by')).toContain('\n abc\n');
});

test('no source keeps an option that lets unsigned packages in', () => {
  const text = formatSources([...parseOneLine(ONE_LINE), ...parseDeb822(DEB822)]);
  expect(text).not.toMatch(/trusted|allow-insecure/i);
});

test('another suite is looked for in the archive of the release only, signed as before', () => {
  const sources = archiveSources(parseOneLine(ONE_LINE), 'bookworm');
  expect(sources.map((source) => source.get('suites'))).toEqual(['bookworm', 'bookworm-updates']);
  expect(formatSources(withSuite(parseDeb822(DEB822), 'bookworm', 'sid'))).toBe(
    `types: deb
uris: http://archive.invalid/debian
suites: sid
components: main
signed-by: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
`,
  );
});
