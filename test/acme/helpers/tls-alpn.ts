import { createServer } from 'node:tls';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { onTestFinished } from 'vitest';
import type { TlsAlpn01Response } from '../../../src/acme/index.ts';

/** A TLS server on 127.0.0.1 that answers tls-alpn-01 as told, and to no other protocol or name. */
export async function tlsAlpnResponder(port: number, response: TlsAlpn01Response): Promise<void> {
  const { protocol, serverName, identifier, extension } = response;
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=tls-alpn-01',
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: identifier.type === 'ip' ? 'ip' : 'dns', value: identifier.value },
        ]),
        new x509.Extension(extension.oid, extension.critical, Buffer.from(extension.value)),
      ],
    },
    crypto,
  );
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  const server = createServer({
    key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
    cert: certificate.toString('pem'),
    ALPNProtocols: [protocol],
    SNICallback: (name, done) =>
      name === serverName ? done(null) : done(new Error(`${name} is not answered here.`)),
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
}
