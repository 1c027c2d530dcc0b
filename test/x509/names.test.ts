import { describe, expect, test } from 'vitest';
import { judgeCsr, makeCsr, registeredDomain } from '../../src/x509/index.ts';
import { altNames, dns, extension, sequence, tlv } from './helpers/der-writer.ts';
import { codes, reasons, rules } from './helpers/judged.ts';
import { rawCsr } from './helpers/raw-csr.ts';

async function identifiers(pem: string): Promise<string[]> {
  const verdict = await judgeCsr(pem, rules);
  if (!verdict.ok) throw new Error(JSON.stringify(verdict.reasons));
  return verdict.csr.identifiers;
}

const withNames = (...names: (Buffer | string)[]): string =>
  rawCsr({ extensions: [altNames(...names.map(dns))] });

test('names come out lower case, once each, sorted', async () => {
  const { pem } = await makeCsr({
    names: [
      'WWW.Example.com',
      'B.example.com',
      'b.example.com',
      'xn--mnchen-3ya.example',
      '*.A.org',
    ],
  });
  expect(await identifiers(pem)).toEqual([
    '*.a.org',
    'b.example.com',
    'www.example.com',
    'xn--mnchen-3ya.example',
  ]);
});

test('the longest label and the longest name pass', async () => {
  const label = 'a'.repeat(63);
  const longest = `${label}.${label}.${label}.${'b'.repeat(57)}.com`;
  expect(longest).toHaveLength(253);
  expect(await identifiers(withNames(longest))).toEqual([longest]);
});

test('a name with a single-character label, digits and hyphens passes', async () => {
  expect(await identifiers(withNames('a.1-2--3.4ever.example'))).toEqual([
    'a.1-2--3.4ever.example',
  ]);
});

describe('name_invalid says what is wrong with', () => {
  const label = 'a'.repeat(63);
  test.each([
    ['a label of 64', `${label}a.com`, 'more than 63'],
    ['a name of 254', `${label}.${label}.${label}.${'b'.repeat(58)}.com`, 'more than 253'],
    ['an empty label', 'a..example.com', 'empty'],
    ['a leading dot', '.example.com', 'empty'],
    ['a trailing dot', 'example.com.', 'ends with a dot'],
    ['a trailing dot behind a public suffix', 'CO.UK.', 'ends with a dot'],
    ['two trailing dots', 'example.com..', 'empty'],
    ['an empty name', '', 'empty'],
    ['a lone dot', '.', 'empty'],
    ['a single label', 'localhost', 'no dot'],
    ['an underscore', '_dmarc.example.com', 'underscores'],
    ['a wildcard that is not first', 'www.*.example.com', 'whole first label'],
    ['a wildcard within a label', 'w*.example.com', 'whole first label'],
    ['a double wildcard', '*.*.example.com', 'whole first label'],
    ['a wildcard on a single label', '*.com', 'at least two labels'],
    ['a bare wildcard', '*', 'at least two labels'],
    ['a hyphen first', '-a.example.com', 'hyphen'],
    ['a hyphen last', 'a-.example.com', 'hyphen'],
    ['a reserved label', 'ab--cd.example.com', 'reserved'],
    ['a number as last label', 'example.123', 'number'],
    ['a space', 'a b.example.com', 'characters'],
    ['a quote', "o'brien.example.com", 'characters'],
    ['a slash', 'https://example.com/', 'characters'],
    ['a port', 'example.com:443', 'characters'],
    ['SQL', "x'); drop table csr; --.com", 'characters'],
    ['HTML', '<img src=x onerror=alert(1)>.example.com', 'characters'],
  ])('%s', async (_, name, clause) => {
    const found = await reasons(withNames(name));
    expect(found.map((one) => one.code)).toEqual(['name_invalid']);
    expect(found[0]?.text).toContain(clause);
  });
});

test('all faults of one name stand in its reason, and each bad name has its own', async () => {
  const found = await reasons(withNames('a_b..example.com', '-x.example.com', 'good.example.com'));
  expect(found.map((one) => one.code)).toEqual(['name_invalid', 'name_invalid']);
  expect(found[0]?.text).toMatch(/empty.*underscores/);
  expect(found[1]?.text).toContain('-x.example.com');
});

test('control characters and terminal escapes are shown escaped', async () => {
  const found = await reasons(withNames('a\0b.example.com', '\x1b[31mred\\.example.com'));
  expect(found.map((one) => one.code)).toEqual(['name_invalid', 'name_invalid']);
  expect(found[0]?.text).toContain('a\\x00b.example.com');
  expect(found[1]?.text).toContain('\\x1b[31mred\\x5c.example.com');
});

test('a long name is shown with at most 100 characters, cut between escapes', async () => {
  const [found] = await reasons(withNames('\x01'.repeat(5000)));
  const shown = /name (\S+) cannot/.exec(found?.text ?? '')?.[1];
  expect(shown).toBe(`${'\\x01'.repeat(24)}...`);
});

describe('names outside ASCII', () => {
  test('are refused with their A-label form', async () => {
    const [found, ...more] = await reasons(withNames(Buffer.from('www.MÜNCHEN.example', 'utf8')));
    expect(more).toEqual([]);
    expect(found?.code).toBe('name_not_ascii');
    expect(found?.text).toContain('www.M\\u{dc}NCHEN.example');
    expect(found?.text).toContain('write www.xn--mnchen-3ya.example');
  });

  test('as a wildcard too', async () => {
    const [found] = await reasons(withNames(Buffer.from('*.bücher.example', 'utf8')));
    expect(found?.text).toContain('write *.xn--bcher-kva.example');
  });

  test('that are not UTF-8 are shown byte by byte', async () => {
    const [found] = await reasons(withNames(Buffer.from('m\xfcnchen.example', 'latin1')));
    expect(found?.code).toBe('name_not_ascii');
    expect(found?.text).toContain('m\\xfcnchen.example');
    expect(found?.text).toContain('xn--');
  });

  test('with bidirectional overrides are shown escaped', async () => {
    const [found] = await reasons(withNames(Buffer.from('a\u202eb.example', 'utf8')));
    expect(found?.text).toContain('a\\u{202e}b.example');
  });
});

describe('public_suffix', () => {
  test.each(['co.uk', '*.co.uk', 'CO.UK', 'foo.ck', 'com.au', '*.xn--55qx5d.cn'])(
    '%s is refused',
    async (name) => {
      expect(await codes(withNames(name))).toEqual(['public_suffix']);
    },
  );

  test.each([
    'example.co.uk',
    '*.example.co.uk',
    'www.ck',
    'github.io',
    '*.github.io',
    'a.internal',
  ])('%s is not one', async (name) => {
    expect(await codes(withNames(name))).toEqual([]);
  });
});

test.each([
  ['www.example.co.uk', 'example.co.uk'],
  ['*.example.org', 'example.org'],
  ['github.io', 'github.io'],
  ['*.github.io', 'github.io'],
  ['a.github.io', 'a.github.io'],
  ['www.b.github.io', 'b.github.io'],
  ['host.internal', 'host.internal'],
  ['a.b.host.internal', 'host.internal'],
])('the registered domain of %s is %s', (name, domain) => {
  expect(registeredDomain(name)).toBe(domain);
});

describe('what is no DNS name', () => {
  test.each(['192.0.2.1', '192.0.2.1.', '2001:db8::1', '[2001:db8::1]'])(
    'the IP address %s in a dNSName is ip_not_supported',
    async (name) => {
      expect(await codes(withNames(name))).toEqual(['ip_not_supported']);
    },
  );

  test('an iPAddress is ip_not_supported, and shown', async () => {
    const ip4 = tlv(0x87, Buffer.of(192, 0, 2, 1));
    const ip6 = tlv(0x87, Buffer.from('20010db8000000000000000000000001', 'hex'));
    const found = await reasons(rawCsr({ extensions: [altNames(dns('a.example.com'), ip4, ip6)] }));
    expect(found.map((one) => one.code)).toEqual(['ip_not_supported', 'ip_not_supported']);
    expect(found[0]?.text).toContain('192.0.2.1');
    expect(found[1]?.text).toContain('2001:0db8:');
  });

  test.each([
    [0x81, 'an e-mail address'],
    [0x86, 'a URI'],
    [0x88, 'a registered ID'],
    [0xa0, 'an otherName'],
    [0xa4, 'a directory name'],
  ])('general name %i is unsupported_san', async (tag, kind) => {
    const found = await reasons(
      rawCsr({ extensions: [altNames(dns('a.example.com'), tlv(tag, 'x'))] }),
    );
    expect(found.map((one) => one.code)).toEqual(['unsupported_san']);
    expect(found[0]?.text).toContain(kind);
  });

  test('a general name of an unknown type is not_a_csr', async () => {
    expect(await codes(rawCsr({ extensions: [altNames(tlv(0x89, 'x'))] }))).toEqual(['not_a_csr']);
  });

  test('addresses alone are refused as what they are', async () => {
    const pem = rawCsr({ extensions: [altNames(tlv(0x87, Buffer.of(192, 0, 2, 1)))] });
    expect(await codes(pem)).toEqual(['ip_not_supported']);
  });
});

describe('no_san', () => {
  test('is given for a CSR without extensions, with an empty SAN, or with a CN alone', async () => {
    expect(await codes((await makeCsr({ names: [] })).pem)).toEqual(['no_san']);
    expect(await codes(rawCsr({ attributes: [] }))).toEqual(['no_san']);
    expect(await codes(rawCsr({ extensions: [extension('2.5.29.17', sequence())] }))).toEqual([
      'no_san',
    ]);
    const { pem } = await makeCsr({ names: [], commonName: 'example.com' });
    expect(await codes(pem)).toEqual(['no_san']);
  });

  test('does not hide a CN that is no host name', async () => {
    const { pem } = await makeCsr({ names: [], commonName: 'My Company' });
    expect(await codes(pem)).toEqual(['no_san', 'cn_not_in_san']);
  });
});

describe('the common name', () => {
  const names = ['a.example.com', 'b.example.com'];
  const san = altNames(...names.map(dns));

  test('may be one of the names, in any case', async () => {
    for (const commonName of ['a.example.com', 'B.Example.COM']) {
      expect(await codes((await makeCsr({ names, commonName })).pem)).toEqual([]);
    }
  });

  test('may be empty', async () => {
    expect(await codes(rawCsr({ commonNames: [''], extensions: [san] }))).toEqual([]);
  });

  test.each(['c.example.com', 'My Company', '192.0.2.1', ' '])(
    '%j is cn_not_in_san',
    async (commonName) => {
      expect(await codes(rawCsr({ commonNames: [commonName], extensions: [san] }))).toEqual([
        'cn_not_in_san',
      ]);
    },
  );

  test('is read as BMPString, and each of several counts', async () => {
    const bmp = (text: string) => tlv(0x1e, Buffer.from(text, 'utf16le').swap16());
    const good = rawCsr({ commonNames: [bmp('a.example.com')], extensions: [san] });
    expect(await codes(good)).toEqual([]);
    const bad = rawCsr({ commonNames: ['a.example.com', bmp('c\u202e')], extensions: [san] });
    const found = await reasons(bad);
    expect(found.map((one) => one.code)).toEqual(['cn_not_in_san']);
    expect(found[0]?.text).toContain('c\\u{202e}');
  });

  test('that equals a refused name is not reported twice', async () => {
    const pem = rawCsr({ commonNames: ['a_b.com'], extensions: [altNames(dns('a_b.com'))] });
    expect(await codes(pem)).toEqual(['name_invalid']);
  });
});

describe('too_many_names', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `host${i}.example.com`);

  test('is given above the limit, not at it', async () => {
    expect(await codes(withNames(...many(100)))).toEqual([]);
    expect(await codes(withNames(...many(101)))).toEqual(['too_many_names']);
    expect(await codes(withNames(...many(26)), { maxNames: 25 })).toEqual(['too_many_names']);
  });

  test('counts names after normalising', async () => {
    const twice = many(100).flatMap((name) => [name, name.toUpperCase()]);
    expect(await codes(withNames(...twice))).toEqual([]);
  });

  test('a flood of bad names is listed in part and counted', async () => {
    const bad = Array.from({ length: 3000 }, (_, i) => `_${i}.example.com`);
    const found = await reasons(withNames(...bad));
    expect(found).toHaveLength(102);
    expect(found[100]?.text).toContain('2900 more names');
    expect(found[101]?.code).toBe('too_many_names');
  });
});
