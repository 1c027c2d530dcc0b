import { createPrivateKey, createPublicKey, webcrypto, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import {
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
} from '../../src/x509/crypto.ts';
import { makeCsr, makeTlsCertificate, X509Error } from '../../src/x509/index.ts';

describe('makeCsr', () => {
  test.each(['P-256', 'P-384', 'RSA-2048', 'Ed25519'] as const)(
    'makes a signed CSR of a %s key, and gives that key',
    async (algorithm) => {
      const names = ['example.com', '*.example.com'];
      const { pem, keyPem } = await makeCsr({ names, commonName: 'example.com', algorithm });
      const csr = new Pkcs10CertificateRequest(pem);
      expect(await csr.verify()).toBe(true);
      expect(csr.subject).toBe('CN=example.com');
      const san = csr.getExtension('2.5.29.17');
      if (!(san instanceof SubjectAlternativeNameExtension)) throw new Error('There is no SAN.');
      expect(san.names.toJSON().map((name) => name.value)).toEqual(names);
      const spki = createPublicKey(createPrivateKey(keyPem)).export({
        type: 'spki',
        format: 'der',
      });
      expect(Buffer.from(csr.publicKey.rawData)).toEqual(spki);
    },
  );

  test('a common name is taken as it is, whatever it holds', async () => {
    const commonName = 'a, O=Evil+CN=b';
    const csr = new Pkcs10CertificateRequest((await makeCsr({ names: [], commonName })).pem);
    expect(csr.subjectName.getField('CN')).toEqual([commonName]);
  });

  test('uses a key that is given, and says so if it cannot be exported', async () => {
    const generate = (extractable: boolean) =>
      webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, extractable, [
        'sign',
        'verify',
      ]);
    const key = await generate(true);
    const csr = new Pkcs10CertificateRequest((await makeCsr({ names: ['a.example'], key })).pem);
    const spki = await webcrypto.subtle.exportKey('spki', key.publicKey);
    expect(Buffer.from(csr.publicKey.rawData)).toEqual(Buffer.from(spki));
    const hidden = makeCsr({ names: ['a.example'], key: await generate(false) });
    await expect(hidden).rejects.toThrow(X509Error);
    await expect(hidden).rejects.toThrow(/extractable/);
  });
});

describe('makeTlsCertificate', () => {
  test('serves TLS for its names and addresses to who trusts its CA, and to nobody else', async () => {
    const made = await makeTlsCertificate({ names: ['localhost'], ips: ['127.0.0.1', '::1'] });
    const server = createServer({ cert: made.certPem, key: made.keyPem });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;

    const shake = async (ca: string, servername: string): Promise<string> => {
      const host = '127.0.0.1';
      const socket: TLSSocket = connect({ host, port, ca, servername });
      try {
        await once(socket, 'secureConnect');
        return socket.authorized ? 'trusted' : 'not trusted';
      } catch (error) {
        return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      } finally {
        socket.destroy();
      }
    };
    try {
      expect(await shake(made.caPem, 'localhost')).toBe('trusted');
      // Without a server name Node checks the address.
      expect(await shake(made.caPem, '')).toBe('trusted');
      expect(await shake(made.caPem, 'other.example')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
      const other = await makeTlsCertificate({ names: ['localhost'] });
      expect(await shake(other.caPem, 'localhost')).toMatch(/UNABLE_TO_(VERIFY|GET)/);
    } finally {
      server.close();
      await once(server, 'close');
    }
  });

  test('lasts as long as asked, and only the CA is a CA', async () => {
    const { caPem, certPem } = await makeTlsCertificate({ names: ['localhost'], days: 3 });
    const [ca, leaf] = [new X509Certificate(caPem), new X509Certificate(certPem)];
    const days = (Date.parse(leaf.validTo) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(2.9);
    expect(days).toBeLessThan(3.1);
    expect([ca.ca, leaf.ca]).toEqual([true, false]);
    expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  });
});
