import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { onTestFinished } from 'vitest';
import {
  type Account,
  generateAccountKey,
  Server,
  type ServerOptions,
} from '../../../src/acme/index.ts';

/** A request as it arrived. */
export interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Answers one request; what it does not answer stays open. */
export type Handler = (request: Seen, response: ServerResponse) => void;

/** An https server that answers exactly what a test tells it to, and remembers what it was asked. */
export interface RawCa {
  url: string;
  host: string;
  pem: string;
  seen: Seen[];
  /** Answers by path; /dir and /nonce have a default. */
  on: Record<string, Handler>;
  /** A client of it, closed after the test. */
  server(options?: Partial<ServerOptions>): Server;
  /** A client of it with an account. */
  account(options?: Partial<ServerOptions>): Promise<Account>;
}

/** Starts one on loopback; it ends with the test. */
export async function rawCa(): Promise<RawCa> {
  const { key, cert } = await identity();
  const seen: Seen[] = [];
  const on: Record<string, Handler> = {};
  let nonces = 0;
  const https = createServer({ key, cert }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const one = { method, path, headers, body: Buffer.concat(chunks).toString() };
      seen.push(one);
      // Clients may cut the connection; that is what some tests are about.
      response.on('error', () => undefined);
      response.setHeader('replay-nonce', `nonce-${++nonces}`);
      (on[path] ?? missing)(one, response);
    });
  });
  https.listen(0, '127.0.0.1');
  await once(https, 'listening');
  onTestFinished(() => {
    https.close();
    https.closeAllConnections();
  });
  const host = `127.0.0.1:${(https.address() as AddressInfo).port}`;
  const url = `https://${host}`;
  on['/dir'] = json({
    newNonce: `${url}/nonce`,
    newAccount: `${url}/new-account`,
    newOrder: `${url}/new-order`,
    keyChange: `${url}/key-change`,
    newAuthz: `${url}/new-authz`,
    renewalInfo: `${url}/renewal-info`,
    revokeCert: `${url}/revoke`,
  });
  on['/nonce'] = (_, response) => response.end();
  const server = (options: Partial<ServerOptions> = {}): Server => {
    const made = new Server({ directoryUrl: `${url}/dir`, caBundle: cert, ...options });
    onTestFinished(() => made.close());
    return made;
  };
  const account = async (options?: Partial<ServerOptions>): Promise<Account> => ({
    server: server(options),
    url: `${url}/account/1`,
    key: await generateAccountKey(),
  });
  return { url, host, pem: cert, seen, on, server, account };
}

/** Answers a JSON value. */
export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Handler {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof value === 'string' ? value : JSON.stringify(value));
  };
}

/** Answers a problem document of an ACME type. */
export function problem(type: string, status = 400, extra: Record<string, unknown> = {}): Handler {
  return json({ type: `urn:ietf:params:acme:error:${type}`, ...extra }, status, {
    'content-type': 'application/problem+json; charset=utf-8',
  });
}

const missing: Handler = (_, response) => {
  response.writeHead(404);
  response.end();
};

async function identity(): Promise<{ key: string; cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      // A name of its own: OpenSSL finds trusted certificates by subject.
      name: `CN=raw test CA ${crypto.randomUUID()}`,
      keys,
      signingAlgorithm: algorithm,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
    },
    crypto,
  );
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { cert: certificate.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
}
