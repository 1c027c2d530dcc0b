import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { judgeCsr } from '../../src/x509/index.ts';
import {
  altNames,
  bitString,
  dns,
  extension,
  nothing,
  octets,
  oid,
  sequence,
  set,
  tlv,
} from './helpers/der-writer.ts';
import { rules } from './helpers/judged.ts';
import { extensionRequest, type RawCsr, rawCsr } from './helpers/raw-csr.ts';

const san = altNames(dns('www.example.org'));
const good = extensionRequest(san);
const challengePassword = oid('1.2.840.113549.1.9.7');
const microsoft = oid('1.3.6.1.4.1.311.2.1.14');
const requestOid = oid('1.2.840.113549.1.9.14');
const usages = extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')));
const mustStaple = extension('1.3.6.1.5.5.7.1.24', sequence(tlv(0x02, Buffer.of(5))));
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaAlgorithm = { id: '1.2.840.113549.1.1.11', hash: 'sha256' };

/** An RSA key whose numbers are these bytes, right or wrong. */
function rsaSpki(change: (n: Buffer, e: Buffer) => [Buffer, Buffer]): Buffer {
  const jwk = createPublicKey(rsa.publicKey.export({ type: 'spki', format: 'pem' })).export({
    format: 'jwk',
  });
  const [n, e] = change(
    Buffer.from(jwk.n ?? '', 'base64url'),
    Buffer.from(jwk.e ?? '', 'base64url'),
  );
  return sequence(
    sequence(oid('1.2.840.113549.1.1.1'), nothing),
    bitString(sequence(tlv(0x02, n), tlv(0x02, e))),
  );
}
const zero = Buffer.of(0);

interface Oddity extends RawCsr {
  /** What the server refuses. */
  refuses?: string[];
  /** The code of the only reason; none: the CSR passes with the name www.example.org. */
  code?: string;
  /** A part of the sentence. */
  says?: string | RegExp;
}

/** CSR oddities × result: what tools really write, and what CAs make of it. Adding one is a line. */
const oddities: Record<string, Oddity> = {
  'an attribute without a SET, before': {
    attributes: [sequence(challengePassword, tlv(0x13, 'secret')), good],
  },
  'an attribute without a SET, behind': {
    attributes: [good, sequence(challengePassword, tlv(0x13, 'secret'))],
  },
  'an attribute that is no sequence': { attributes: [octets(), good] },
  'an attribute without an identifier': { attributes: [sequence(set(nothing)), good] },
  'an attribute with half a value': {
    attributes: [sequence(challengePassword, set(Buffer.of(0x13, 9, 1))), good],
  },
  'an extensionRequest whose second value is cut': {
    attributes: [sequence(requestOid, set(sequence(san), Buffer.of(0x13, 9, 1)))],
    code: 'no_san',
    says: 'list all names there',
  },
  'an attribute with something behind its values': {
    attributes: [sequence(requestOid, set(sequence(san)), nothing)],
  },
  'an empty extensionRequest, then a good one': {
    attributes: [sequence(requestOid, set()), good],
  },
  'two values in the extensionRequest: the first counts': {
    attributes: [
      sequence(
        requestOid,
        set(sequence(san), sequence(altNames(dns('other.example.org')), mustStaple)),
      ),
    ],
  },
  'only an extensionRequest without a SET': {
    attributes: [sequence(requestOid, sequence(san))],
    code: 'no_san',
    says: 'list all names there',
  },
  'an extensionRequest whose value is no list': {
    attributes: [sequence(requestOid, set(octets()))],
    code: 'not_a_csr',
    says: 'the extensions are missing',
  },
  "names in Microsoft's attribute only": {
    commonNames: ['www.example.org'],
    attributes: [sequence(microsoft, set(sequence(san)))],
    code: 'no_san',
    says: /Microsoft's attribute 1\.3\.6\.1\.4\.1\.311\.2\.1\.14.*extensionRequest/,
  },
  "Microsoft's attribute beside a good one": {
    attributes: [sequence(microsoft, set(sequence(altNames(dns('other.example.org'))))), good],
  },
  "Microsoft's attribute without names": {
    attributes: [sequence(microsoft, set(sequence(usages)))],
    code: 'no_san',
    says: 'list all names there',
  },
  'an RSA modulus without its zero byte': {
    keys: rsa,
    algorithm: rsaAlgorithm,
    spki: rsaSpki((n, e) => [n, e]),
    code: 'key_invalid',
    says: /The RSA modulus is negative.*another tool/,
  },
  'an RSA modulus with a zero byte too many': {
    keys: rsa,
    algorithm: rsaAlgorithm,
    spki: rsaSpki((n, e) => [Buffer.concat([zero, zero, n]), e]),
    code: 'key_invalid',
    says: 'The RSA modulus is padded',
  },
  'an empty RSA modulus': {
    keys: rsa,
    algorithm: rsaAlgorithm,
    spki: rsaSpki((_, e) => [Buffer.alloc(0), e]),
    code: 'key_type_refused',
  },
  'a negative RSA exponent': {
    keys: rsa,
    algorithm: rsaAlgorithm,
    spki: rsaSpki((n) => [Buffer.concat([zero, n]), Buffer.of(0x81, 0, 1)]),
    code: 'key_invalid',
    says: 'The RSA exponent is negative',
  },
  'a name with a dot at its end': {
    extensions: [altNames(dns('www.example.org.'))],
    code: 'name_invalid',
    says: 'ends with a dot',
  },
  'a common name in U-labels': {
    commonNames: ['bücher.example.org'],
    extensions: [altNames(dns('xn--bcher-kva.example.org'))],
    code: 'cn_not_in_san',
    says: 'write it as xn--bcher-kva.example.org or leave the CN out',
  },
  'a common name in U-labels that is not among the names': {
    commonNames: ['bücher.example.org'],
    extensions: [san],
    code: 'cn_not_in_san',
    says: 'add xn--bcher-kva.example.org there and write the CN so, too',
  },
  'a common name with a dot at its end': {
    commonNames: ['www.example.org.'],
    extensions: [san],
    code: 'cn_not_in_san',
    says: 'write it as www.example.org or leave the CN out',
  },
  'a common name that is a company': {
    commonNames: ['Müller & Söhne'],
    extensions: [san],
    code: 'cn_not_in_san',
    says: /names; leave the CN out\.$/,
  },
  'clientAuth, where the server leaves it out': { extensions: [san, usages] },
  'clientAuth, where the server refuses it': {
    extensions: [san, usages],
    refuses: ['client_auth_eku'],
    code: 'client_auth_eku',
  },
  'must-staple, where the server takes it': {
    extensions: [san, mustStaple],
    refuses: ['client_auth_eku'],
  },
  'must-staple, where the server refuses it': {
    extensions: [san, mustStaple],
    refuses: ['must_staple'],
    code: 'must_staple',
  },
};

test.each(Object.entries(oddities))('%s', async (_, { refuses, code, says, ...shape }) => {
  const verdict = await judgeCsr(rawCsr(shape), { ...rules, refusedFeatures: refuses ?? [] });
  if (code === undefined) {
    expect(verdict).toMatchObject({ ok: true, csr: { identifiers: ['www.example.org'] } });
    return;
  }
  const reasons = verdict.ok ? [] : verdict.reasons;
  expect(reasons.map((one) => one.code)).toContain(code);
  expect(reasons.find((one) => one.code === code)?.text).toMatch(says ?? '');
});
