import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { certificateId } from '../../src/acme/index.ts';
import { Extension } from '../../src/x509/crypto.ts';
import { csrDer, type IssuedCertificate, makeCsr, verifyIssued } from '../../src/x509/index.ts';
import { readPem, writePem } from '../../src/x509/pem.ts';
import { type TestCa, testCa } from './helpers/chain.ts';
import { dns, sequence, tlv } from './helpers/der-writer.ts';

const names = ['*.example.org', 'example.com', 'xn--mnchen-3ya.example'];

let csrPem: string;
let keyPem: string;
let ca: TestCa;
let leaf: string;
let chain: string;

beforeAll(async () => {
  ({ pem: csrPem, keyPem } = await makeCsr({ names }));
  ca = await testCa('ec');
  leaf = await ca.issue({ csrPem, names });
  chain = leaf + ca.intermediate;
});

/** Why a chain is refused; '' if it passes. */
async function refusal(chainPem: string, identifiers: readonly string[] = names): Promise<string> {
  const verdict = await verifyIssued({ chainPem, csrDer: csrDer(csrPem), identifiers });
  return verdict.ok ? '' : verdict.reason;
}

async function accepted(chainPem: string, csr = csrPem): Promise<IssuedCertificate> {
  const verdict = await verifyIssued({ chainPem, csrDer: csrDer(csr), identifiers: names });
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.certificate;
}

test.each(['ec', 'rsa'] as const)(
  'a chain of %s certificates passes, with and without root',
  async (kind) => {
    const csr = await makeCsr({ names, algorithm: kind === 'rsa' ? 'RSA-2048' : 'P-384' });
    const other = await testCa(kind);
    const issued = await other.issue({ csrPem: csr.pem, names });
    for (const rest of ['', other.intermediate, other.intermediate + other.root]) {
      expect((await accepted(issued + rest, csr.pem)).identifiers).toEqual(names);
    }
  },
);

test('what is stored is what the certificate says', async () => {
  const found = await accepted(chain.replaceAll('\n', '\r\n'));
  const native = new X509Certificate(leaf);
  expect(found.leafPem).toBe(leaf);
  expect(found.chainPem).toBe(chain);
  expect(found.serial).toBe('f1e2d3c4');
  expect(found.serial).toBe(native.serialNumber.toLowerCase());
  expect(found.subject).toBe('');
  expect(found.issuer).toBe('O=Test, CN=Test Intermediate');
  expect(found.notBefore.toISOString()).toBe('2026-11-23T01:02:03.000Z');
  expect(found.notAfter.toISOString()).toBe('2051-02-21T04:05:06.000Z');
  expect(found.fingerprintSha256.toString('hex')).toBe(
    native.fingerprint256.replaceAll(':', '').toLowerCase(),
  );
  expect(found.spkiSha256).toHaveLength(32);
});

test('the names may be asked for and issued in any order and case', async () => {
  const issued = await ca.issue({ csrPem, names: ['EXAMPLE.com', names[2] ?? '', names[0] ?? ''] });
  expect(await refusal(issued, [...names].reverse())).toBe('');
  expect((await accepted(issued)).identifiers).toEqual(names);
});

test('two-digit years from 50 on are of the last century', async () => {
  for (const notBefore of ['1950-01-01T00:00:00.000Z', '2049-12-31T23:59:59.000Z']) {
    const found = await accepted(await ca.issue({ csrPem, names, notBefore }));
    expect(found.notBefore.toISOString()).toBe(notBefore);
  }
});

test('control characters in the issuer are escaped', async () => {
  const strange = await testCa('ec', 'A\u202eB\nC, D');
  const found = await accepted(await strange.issue({ csrPem, names }));
  expect(found.issuer).not.toMatch(/[\p{C}]/u);
  expect(found.issuer).toContain('\\u{202e}B');
});

describe('a chain is sorted, and what does not belong to it left out:', () => {
  /** What the server sends, and which of it is stored. */
  const sent: Record<string, (all: Chains) => string[]> = {
    'the root before the intermediate': ({ leaf, intermediate, root }) => [
      leaf,
      root,
      intermediate,
    ],
    'the leaf last': ({ leaf, intermediate, root }) => [intermediate, root, leaf],
    'all backwards': ({ leaf, intermediate, root }) => [root, intermediate, leaf],
    'the leaf twice': ({ leaf, intermediate, root }) => [leaf, intermediate, root, leaf],
    "another CA's root at the end": ({ leaf, intermediate, root, foreign }) => [
      leaf,
      intermediate,
      root,
      foreign,
    ],
    "another CA's root between": ({ leaf, intermediate, root, foreign }) => [
      leaf,
      foreign,
      intermediate,
      root,
    ],
    'a certificate that cannot be read': ({ leaf, intermediate, root }) => [
      leaf,
      intermediate,
      root,
      writePem('CERTIFICATE', Buffer.of(0x30, 0)),
    ],
    'text before, between and behind': ({ leaf, intermediate, root }) => [
      `subject=example.com\n${leaf}`,
      `<b>\n${intermediate}`,
      `Root:\0\n${root}-- \n`,
    ],
  };
  interface Chains {
    leaf: string;
    intermediate: string;
    root: string;
    foreign: string;
  }

  test.each(Object.entries(sent))('%s', async (_, order) => {
    const foreign = (await testCa('ec', 'Foreign')).root;
    const { intermediate, root } = ca;
    const found = await accepted(order({ leaf, intermediate, root, foreign }).join(''));
    expect(found.leafPem).toBe(leaf);
    expect(found.chainPem).toBe(leaf + intermediate + root);
  });

  test('an issuer that is missing ends it', async () => {
    const twin = await testCa('ec');
    expect((await accepted(chain + twin.root)).chainPem).toBe(chain);
  });
});

test.each([
  ['negative', 'ff', '-01'],
  ['negative and long', 'fedcba9876543210', '-0123456789abcdf0'],
  ['zero', '00', '00'],
  ['of 24 bytes', `01${'ab'.repeat(23)}`, `01${'ab'.repeat(23)}`],
])('a private CA may have serial numbers that are %s', async (_, bytes, serial) => {
  const odd = await testCa('ec', 'Odd', { serial: Buffer.from(bytes, 'hex') });
  const authority = new Extension('2.5.29.35', false, sequence(tlv(0x80, 'its key')));
  const issued = await odd.issue({ csrPem, names, extra: [authority] });
  const found = await accepted(issued + odd.intermediate + odd.root);
  expect(found.chainPem).toBe(issued + odd.intermediate + odd.root);
  expect(found.serial).toBe(serial);
  // The id that renewal information knows it by has the very bytes (RFC 9773 §4.1).
  expect(certificateId(readPem(issued)[0]?.der ?? Buffer.alloc(0)).split('.')[1]).toBe(
    Buffer.from(bytes, 'hex').toString('base64url'),
  );
});

describe('a certificate ends with its issuers:', () => {
  const notBefore = '2026-11-23T00:00:00Z';
  const notAfter = '2027-02-21T00:00:00Z';
  test.each([
    ['the intermediate ends first', { intermediate: '2026-12-01T00:00:00Z' }, true],
    ['the intermediate ends at the same time', { intermediate: notAfter }, false],
    ['the root ends first', { root: '2026-12-01T00:00:00Z' }, false],
    ['the intermediate had ended before', { intermediate: '2026-11-01T00:00:00Z' }, false],
  ])('%s', async (_, ends, endsWithIssuer) => {
    const short = await testCa('ec', 'Short', { ends });
    const issued = await short.issue({ csrPem, names, notBefore, notAfter });
    const found = await accepted(issued + short.intermediate + short.root);
    expect(found.endsWithIssuer).toBe(endsWithIssuer);
    expect(found.notAfter).toEqual(
      new Date(endsWithIssuer ? (Object.values(ends)[0] ?? '') : notAfter),
    );
  });
});

describe('refused is', () => {
  const broken = 'The certificate is not issued by any other of the chain.';

  test("a certificate for another key, even the issuer's", async () => {
    const other = await makeCsr({ names });
    const issued = await ca.issue({ csrPem: other.pem, names });
    expect(await refusal(issued)).toBe("The certificate's public key is not the CSR's.");
    expect(await refusal(issued + ca.intermediate)).toBe(
      "No certificate of the chain has the CSR's public key.",
    );
  });

  test('a missing name, and no name at all', async () => {
    expect(await refusal(await ca.issue({ csrPem, names: names.slice(1) }))).toContain(
      'lacks the name *.example.org',
    );
    const issued = await ca.issue({ csrPem, names, san: sequence() });
    expect(await refusal(issued)).toContain('lacks the name');
  });

  test('a name not asked for, shown escaped', async () => {
    const more = await ca.issue({ csrPem, names: [...names, 'www.example.com'] });
    expect(await refusal(more)).toContain('has the name www.example.com');
    // The text form of this one reads as two of the names asked for.
    const both = await ca.issue({
      csrPem,
      names,
      san: sequence(dns('example.com, DNS:*.example.org')),
    });
    expect(await refusal(both)).toContain('has the name example.com, DNS:*.example.org');
    const nul = await ca.issue({ csrPem, names, san: sequence(dns('example.com\0.evil.example')) });
    expect(await refusal(nul)).toContain('example.com\\x00.evil.example');
  });

  test('a name that is no DNS name', async () => {
    const ip = tlv(0x87, Buffer.of(192, 0, 2, 1));
    const issued = await ca.issue({ csrPem, names, san: sequence(...names.map(dns), ip) });
    expect(await refusal(issued)).toContain('an IP address');
  });

  test('a second subjectAltName extension', async () => {
    const second = new Extension('2.5.29.17', false, new Uint8Array(sequence(dns('evil.example'))));
    const issued = await ca.issue({ csrPem, names, extra: [second] });
    expect(await refusal(issued)).toContain('more than once');
  });

  test('a chain that leaves out the intermediate', async () => {
    expect(await refusal(leaf + ca.root)).toBe(broken);
  });

  test('an issuer of the right name and the wrong key', async () => {
    const twin = await testCa('ec');
    expect(await refusal(leaf + twin.intermediate)).toBe(broken);
    const rsa = await testCa('rsa');
    expect(await refusal(leaf + rsa.intermediate)).toBe(broken);
  });

  test('an issuer of the right key and the wrong name', async () => {
    expect(await refusal(leaf + ca.renamed)).toBe(broken);
  });

  test('a changed certificate', async () => {
    const der = Buffer.from(readPem(leaf)[0]?.der ?? '');
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    expect(await refusal(writePem('CERTIFICATE', der) + ca.intermediate)).toBe(broken);
  });

  test('an issuer that once was part of a good chain, behind a leaf that it did not sign', async () => {
    const twin = await testCa('ec');
    const issued = await twin.issue({ csrPem, names });
    expect(await refusal(issued + twin.intermediate)).toBe('');
    expect(await refusal(chain)).toBe('');
    expect(await refusal(issued + ca.intermediate)).toBe(broken);
  });

  test('any other block', async () => {
    expect(await refusal(chain + keyPem)).toBe('The chain holds a PRIVATE KEY block.');
    expect(await refusal(keyPem + chain)).toBe('The chain holds a PRIVATE KEY block.');
    expect(await refusal(chain + csrPem)).toContain('CERTIFICATE REQUEST');
  });

  test.each([
    ['nothing', ''],
    ['JSON', '{"status":"valid"}'],
    ['HTML', '<html>502 Bad Gateway</html>'],
    ['an open block', '-----BEGIN CERTIFICATE-----\nAAAA'],
    ['bytes that are no certificate', writePem('CERTIFICATE', Buffer.from('no certificate'))],
  ])('%s', async (_, text) => {
    expect(await refusal(text)).not.toBe('');
  });

  test('an unreadable issuer, and bytes behind one', async () => {
    const unreadable = 'Another certificate of the chain cannot be read.';
    expect(await refusal(leaf + writePem('CERTIFICATE', Buffer.of(0x30, 0)))).toBe(unreadable);
    const der = readPem(ca.intermediate)[0]?.der ?? Buffer.alloc(0);
    const longer = writePem('CERTIFICATE', Buffer.concat([der, Buffer.of(5, 0)]));
    expect(await refusal(leaf + longer)).toBe(unreadable);
  });

  test('a chain of more than ten', async () => {
    expect(await refusal(leaf + ca.intermediate.repeat(10))).toContain('11 certificates');
  });
});

test('whatever the bytes, there is a verdict', { timeout: 120_000 }, async () => {
  const runs = 250 * Number(process.env['PGACME_TEST_SCALE'] ?? 1);
  const [first, second] = readPem(chain).map((block) => block.der);
  if (!first || !second) throw new Error('The chain has two certificates.');
  for (let run = 0; run < runs; run += 1) {
    const der = Buffer.from(first);
    const at = (run * 7919) % der.length;
    der[at] = (der[at] ?? 0) ^ (1 << (run % 8));
    const reason = await refusal(writePem('CERTIFICATE', der) + writePem('CERTIFICATE', second));
    expect(reason, `bit ${run % 8} of byte ${at}`).not.toBe('');
    const issuer = Buffer.from(second);
    const place = (run * 104729) % issuer.length;
    issuer[place] = (issuer[place] ?? 0) ^ (1 << (run % 8));
    await refusal(leaf + writePem('CERTIFICATE', issuer));
    await refusal(chain.slice(0, place) + chain.slice(place + 1));
  }
});
