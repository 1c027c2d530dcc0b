import { describe, expect, test } from 'vitest';
import { csrDer, judgeCsr, makeCsr, makeTlsCertificate, X509Error } from '../../src/x509/index.ts';
import { writePem } from '../../src/x509/pem.ts';
import { csrOf } from './helpers/chain.ts';
import { altNames, dns, extension, octets, sequence, tlv } from './helpers/der-writer.ts';
import { codes, reasons, rules } from './helpers/judged.ts';
import { ecKeys, rawCsr, rawCsrDer } from './helpers/raw-csr.ts';

const extensions = [altNames(dns('example.com'))];

test('the DER of a CSR comes out as it went in, and csrDer throws what judgeCsr reports', async () => {
  const der = rawCsrDer({ extensions });
  expect(Buffer.from(csrDer(writePem('CERTIFICATE REQUEST', der)))).toEqual(der);
  expect(() => csrDer('nothing')).toThrow(X509Error);
  expect(() => csrDer('nothing')).toThrow(/no CERTIFICATE REQUEST block/);
  expect(await codes('nothing')).toEqual(['not_a_csr']);
});

describe('not_a_csr says what the text is instead', () => {
  const block = (body: string) =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${body}\n-----END CERTIFICATE REQUEST-----\n`;
  const der = rawCsrDer({ extensions });

  test.each([
    ['nothing', '', 'no CERTIFICATE REQUEST block'],
    ['no END line', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA', 'no END line'],
    ['a cut BEGIN line', '-----BEGIN CERTIFICATE', 'BEGIN line'],
    ['an escape in the label', '-----BEGIN \x1b[0m-----\n', 'BEGIN line'],
    ['an empty block', block(''), 'not base64'],
    ['no base64', block('%%%%'), 'not base64'],
    ['base64 without padding', block('AA'), 'not base64'],
    ['base64url', block('_-8='), 'not base64'],
    ['random bytes', block('q83vASNFZ4k='), 'does not hold a CSR'],
    ['bytes left over', block(Buffer.concat([der, Buffer.of(0)]).toString('base64')), 'left over'],
    [
      'a public key',
      ecKeys.publicKey.export({ type: 'spki', format: 'pem' }) as string,
      'PUBLIC KEY',
    ],
    [
      'an indefinite length (BER)',
      block(
        Buffer.concat([Buffer.of(0x30, 0x80), der.subarray(4), Buffer.of(0, 0)]).toString('base64'),
      ),
      'not DER',
    ],
  ])('%s', async (_, pem, clause) => {
    const found = await reasons(pem);
    expect(found.map((one) => one.code)).toEqual(['not_a_csr']);
    expect(found[0]?.text).toContain(clause);
  });

  test('a certificate', async () => {
    const { certPem } = await makeTlsCertificate({ names: ['example.com'] });
    expect((await reasons(certPem))[0]?.text).toContain('This is a CERTIFICATE block');
    const relabelled = certPem.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST');
    expect(await codes(relabelled)).toEqual(['not_a_csr']);
  });

  test('two CSRs', async () => {
    const { pem } = await csrOf('P-256');
    expect((await reasons(pem + pem))[0]?.text).toContain('2 blocks');
  });
});

test('a private key in the text is reported, and nothing of it repeated', async () => {
  const { pem, keyPem } = await makeCsr({ names: ['example.com'] });
  const found = await reasons(keyPem + pem);
  expect(found.map((one) => one.code)).toEqual(['private_key']);
  expect(found[0]?.text).not.toContain(keyPem.split('\n')[1]);
  expect(await codes('-----BEGIN OPENSSH PRIVATE KEY-----\ncut')).toEqual(['private_key']);
});

describe('extensions that are not DER are not_a_csr', () => {
  test.each([
    ['a SAN that is no sequence', extension('2.5.29.17', tlv(0x0c, 'x'))],
    [
      'a SAN with bytes behind',
      extension('2.5.29.17', Buffer.concat([sequence(), Buffer.of(5, 0)])),
    ],
    ['a key usage that is no list', extension('2.5.29.37', octets())],
    ['a length of five bytes', extension('2.5.29.17', Buffer.from('3085000000000100', 'hex'))],
    ['a padded length', extension('2.5.29.17', Buffer.from('308100', 'hex'))],
    ['an identifier of 65 bytes', sequence(tlv(0x06, Buffer.alloc(65, 1)), octets(sequence()))],
    ['a padded identifier', sequence(tlv(0x06, Buffer.of(0x55, 0x80, 0x11)), octets(sequence()))],
  ])('%s', async (_, bad) => {
    const others = bad.includes(Buffer.from('551d11', 'hex')) ? [] : extensions;
    expect(await codes(rawCsr({ extensions: [...others, bad] }))).toEqual(['not_a_csr']);
  });
});

describe('whatever the bytes, there is a verdict', { timeout: 120_000 }, () => {
  /** A small generator with a fixed seed, so that a failure can be repeated. */
  function random(seed: number): () => number {
    let state = seed;
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
  }
  const runs = 500 * Number(process.env['PGACME_TEST_SCALE'] ?? 1);
  const names = ['example.com', '*.example.org'];

  async function verdictOf(der: Buffer): Promise<boolean> {
    const verdict = await judgeCsr(writePem('CERTIFICATE REQUEST', der), rules);
    if (!verdict.ok) {
      expect(verdict.reasons.length).toBeGreaterThan(0);

      for (const { text } of verdict.reasons) expect(text).not.toMatch(/[^\x20-\x7e–…]/);
    }
    return verdict.ok;
  }

  test.each(['P-256', 'RSA-2048'] as const)('%s: each cut of a CSR is refused', async (type) => {
    const der = Buffer.from(csrDer((await csrOf(type, names)).pem));
    for (let end = 1; end < der.length; end += 1) {
      expect(await verdictOf(der.subarray(0, end))).toBe(false);
    }
  });

  test.each(['P-256', 'RSA-2048'] as const)('%s: a changed byte never passes', async (type) => {
    const der = Buffer.from(csrDer((await csrOf(type, names)).pem));
    const next = random(20261123);
    for (let run = 0; run < runs; run += 1) {
      const at = Math.floor(next() * der.length);
      const value = Math.floor(next() * 256);
      if (der[at] === value) continue;
      const changed = Buffer.from(der);
      changed[at] = value;
      expect(await verdictOf(changed), `byte ${at} to ${value}`).toBe(false);
    }
  });

  test('many changes, insertions and noise never throw', async () => {
    const der = Buffer.from(csrDer((await csrOf('P-256', names)).pem));
    const next = random(5280);
    for (let run = 0; run < runs; run += 1) {
      const changed = Buffer.from(der);
      for (let times = 0; times < 1 + (run % 8); times += 1) {
        changed[Math.floor(next() * changed.length)] = Math.floor(next() * 256);
      }
      const at = Math.floor(next() * changed.length);
      const noise = Buffer.from(Array.from({ length: run % 5 }, () => Math.floor(next() * 256)));
      await verdictOf(Buffer.concat([changed.subarray(0, at), noise, changed.subarray(at)]));
      const pem = writePem('CERTIFICATE REQUEST', changed).split('');
      pem[Math.floor(next() * pem.length)] = String.fromCharCode(Math.floor(next() * 0x2000));
      await judgeCsr(pem.join(''), rules);
    }
  });

  test('64 KiB of the costliest shapes take little time each', async () => {
    const size = 65_000;
    const deep = Array.from({ length: 10_000 }).reduce<Buffer>(
      (inner) => sequence(inner).subarray(0, size),
      octets(),
    );
    const shapes = [
      rawCsr({ extensions: [altNames(dns('a.'.repeat(size / 2)))] }),
      rawCsr({ extensions: [altNames(...Array.from({ length: size / 4 }, () => dns('_.')))] }),
      rawCsr({
        extensions: [
          altNames(
            dns(
              Buffer.from(
                Array.from({ length: 20_900 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join(''),
              ),
            ),
          ),
        ],
      }),
      rawCsr({
        extensions: Array.from({ length: size / 12 }, (_, i) => extension(`1.2.${i}`, octets())),
      }),
      rawCsr({ commonNames: ['a.'.repeat(size / 2) + ' '], extensions }),
      writePem('CERTIFICATE REQUEST', deep),
      '-----BEGIN '.repeat(size / 11),
      '-----BEGIN A-----'.repeat(size / 17),
      `-----BEGIN ${'PRIVATE '.repeat(size / 8)}`,
      '-----BEGIN CERTIFICATE REQUEST-----' +
        ' \t\n'.repeat(size / 3) +
        '-----END CERTIFICATE REQUEST-----',
    ];
    for (const [index, pem] of shapes.entries()) {
      const start = process.cpuUsage();
      expect((await judgeCsr(pem, rules)).ok).toBe(false);
      const { user, system } = process.cpuUsage(start);
      expect((user + system) / 1000, `shape ${index}, milliseconds`).toBeLessThan(600);
    }
  });
});
