import { expect, test } from 'vitest';
import {
  caaRecord,
  canonicalIp,
  dns01Name,
  dns01Value,
  dnsAccount01Name,
  http01Path,
  reverseName,
  tlsAlpn01,
} from '../../src/acme/index.ts';

// The token of RFC 8555 §8.3 and the thumbprint of RFC 7638 §3.1; the digest was made by openssl.
const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA';
const KEY_AUTHORIZATION = `${TOKEN}.NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs`;
const DIGEST = '653471d42925d7eb4cd39a39cda8b34d3034c94cb90067ab78c8123560ba2e5f';

test('http-01 has a path that no token can lead out of', () => {
  expect(http01Path(TOKEN)).toBe(`/.well-known/acme-challenge/${TOKEN}`);
  expect(() => http01Path('../../etc/passwd')).toThrow(/token of the challenge is not base64url/);
});

test('dns-01 has a name under the domain, without *., and the digest as its value', () => {
  expect(dns01Name('www.example.org')).toBe('_acme-challenge.www.example.org');
  expect(dns01Name('*.example.org')).toBe('_acme-challenge.example.org');
  expect(dns01Value(KEY_AUTHORIZATION)).toBe('ZTRx1Ckl1-tM05o5zaizTTA0yUy5AGereMgSNWC6Ll8');
});

test('dns-account-01 has the label of the draft', () => {
  const url = 'https://example.com/acme/acct/ExampleAccount';
  expect(dnsAccount01Name('*.example.org', url)).toBe(
    '_ujmmovf2vn55tgye._acme-challenge.example.org',
  );
});

test('tls-alpn-01 has the digest as an OCTET STRING in a critical extension (RFC 8737 §3)', () => {
  const identifier = { type: 'dns', value: 'www.example.org' };
  const response = tlsAlpn01(identifier, KEY_AUTHORIZATION);
  expect(response).toMatchObject({
    protocol: 'acme-tls/1',
    serverName: 'www.example.org',
    identifier,
    extension: { oid: '1.3.6.1.5.5.7.1.31', critical: true },
  });
  expect(Buffer.from(response.extension.value).toString('hex')).toBe(`0420${DIGEST}`);
});

test.each([
  ['192.0.2.1', '1.2.0.192.in-addr.arpa'],
  ['2001:db8::1', `1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`],
  ['::ffff:192.0.2.1', `1.0.2.0.0.0.0.c.f.f.f.f.${'0.'.repeat(20)}ip6.arpa`],
])('tls-alpn-01 for %s asks for the reverse name (RFC 8738 §6)', (value, name) => {
  expect(reverseName(value)).toBe(name);
  const identifier = { type: 'ip', value };
  const response = tlsAlpn01(identifier, KEY_AUTHORIZATION);
  expect(response).toMatchObject({ serverName: name, identifier });
});

test.each([
  // RFC 5952 §1, §2.2, §4.1, §4.2.1, §4.2.2, §4.2.3, §4.3, §5.
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:DB8:0::0:1', '2001:db8::1'],
  ['2001:0db8::0001', '2001:db8::1'],
  ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
  ['2001:db8::0:0:1:0:0:1', undefined],
  ['2001:DB8:AAAA:BBBB:CCCC:DDDD:EEEE:0001', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1'],
  ['::FFFF:C000:0201', '::ffff:192.0.2.1'],
  ['0:0:0:0:0:ffff:192.0.2.1', '::ffff:192.0.2.1'],
  ['0:0:0:0:0:0:0:0', '::'],
  ['::1', '::1'],
  ['192.0.2.1', '192.0.2.1'],
  ['192.0.2.01', undefined],
  ['192.0.2', undefined],
  ['0x7f.1', undefined],
  ['fe80::1%eth0', undefined],
  ['[::1]', undefined],
  ['2001:db8::/32', undefined],
  ['', undefined],
])('%s as an identifier is %s', (text, canonical) => {
  expect(canonicalIp(text)).toBe(canonical);
  if (canonical === undefined) expect(reverseName(text)).toBeUndefined();
});

test('a CAA record names the CA, and narrows it to an account and to challenge types', () => {
  const issuer = 'ca.example.net';
  const accountUrl = 'https://example.net/account/1234';
  expect(caaRecord({ issuer })).toBe('0 issue "ca.example.net"');
  expect(caaRecord({ issuer, accountUrl })).toBe(
    '0 issue "ca.example.net; accounturi=https://example.net/account/1234"',
  );
  const validationMethods = ['dns-01', 'ca-foo'];
  expect(caaRecord({ issuer, accountUrl, validationMethods, wildcard: true })).toBe(
    '0 issuewild "ca.example.net; accounturi=https://example.net/account/1234; validationmethods=dns-01,ca-foo"',
  );
  expect(caaRecord({ issuer, accountUrl: 'https://a/"\\' })).toContain('https://a/\\"\\\\"');
  expect(caaRecord({ issuer, validationMethods: [] })).toBe('0 issue "ca.example.net"');
});

test.each([
  { issuer: 'ca.example.net; x=y' },
  { issuer: '' },
  { issuer: '-ca.example.net' },
  { issuer: 'ca.example.net', accountUrl: 'https://a.example/1;2' },
  { issuer: 'ca.example.net', accountUrl: 'https://a.example/ü' },
  { issuer: 'ca.example.net', accountUrl: '' },
  { issuer: 'ca.example.net', validationMethods: ['dns-01,http-01'] },
])('what would change the meaning of a CAA record is refused: %j', (allowance) => {
  expect(() => caaRecord(allowance)).toThrow(expect.objectContaining({ code: 'ERR_ACME_CAA' }));
});
