import type { IncomingMessage } from 'node:http';
import { verifyRequest } from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
import { renewalInfo } from './renewal-info.ts';
import { directory, resourceAt, routes } from './routes.ts';
import type { Ca, Resource } from './store.ts';

/** An answer ready for the wire; headers that are undefined are not sent. */
export interface Rendered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Does what a request asks for, and gives the answer; a refusal is an answer too. */
export async function carryOut(ca: Ca, request: IncomingMessage, body: string): Promise<Rendered> {
  let answer: Answer;
  try {
    answer = await dispatch(ca, request, body);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    answer = error.answer;
  }
  const { status, json, headers = {}, contentType = 'application/json' } = answer;
  const { resource } = resourceAt(request.url ?? '');
  // RFC 8555 §6.5: every POST is answered with a nonce, also when it is refused.
  const nonce = request.method === 'POST' || resource === 'newNonce' ? nonceHeaders(ca) : {};
  const link = [`<${ca.link('directory')}>;rel="index"`].concat(headers['link'] ?? []);
  const text = json === undefined ? answer.body : JSON.stringify(json);
  return {
    status,
    headers: {
      ...nonce,
      ...headers,
      ...(text === undefined ? {} : { 'content-type': contentType }),
      ...(resource === 'directory' ? {} : { link }),
    },
    body: Buffer.from(text ?? ''),
  };
}

/** A fresh nonce, which no cache may keep (RFC 8555 §7.2). */
export function nonceHeaders(ca: Ca): Record<string, string> {
  return { 'replay-nonce': ca.store.newNonce(), 'cache-control': 'no-store' };
}

async function dispatch(ca: Ca, request: IncomingMessage, body: string): Promise<Answer> {
  const { method, url: path = '', headers } = request;
  const { resource, rest } = resourceAt(path);
  const [id = '', detail] = rest;
  // RFC 8555 §6.1
  if (!headers['user-agent']) throw new Refusal('malformed', 'User-Agent is missing.');
  if (!resource) throw new Refusal('malformed', 'There is no such resource.', 404);
  const plain = method === 'GET' || method === 'HEAD';
  if (resource === 'directory' && plain) return { status: 200, json: directory(ca) };
  // RFC 8555 §7.2
  if (resource === 'newNonce' && plain) return { status: method === 'HEAD' ? 200 : 204 };
  if (resource === 'renewalInfo' && plain) return renewalInfo(ca, id);
  if (
    resource === 'directory' ||
    resource === 'newNonce' ||
    resource === 'renewalInfo' ||
    method !== 'POST'
  ) {
    throw new Refusal('malformed', `${method} does not work here.`, 405);
  }
  if (headers['content-type'] !== 'application/jose+json') {
    throw new Refusal('malformed', 'The content type is not application/jose+json.', 415);
  }
  if (headers['replay-nonce'] !== undefined) {
    throw new Refusal('malformed', 'A client sends no Replay-Nonce.');
  }
  const route = routes[resource];
  const signed = await verifyRequest(ca, body, new URL(path, ca.link('directory')).href, route.key);
  if (route.payload === 'wanted' && !signed.payload) {
    throw new Refusal('malformed', 'The payload must be an object.');
  }
  if (route.payload === 'none' && signed.payload) {
    throw new Refusal('malformed', 'The payload must be empty (POST-as-GET).');
  }
  if (isUnknownYet(ca, resource, path)) {
    throw new Refusal('malformed', 'There is no such resource.', 404);
  }
  return route.handle(ca, signed, id, detail);
}

/** A replica that lags behind: it does not know yet what another one has made. */
function isUnknownYet(ca: Ca, resource: Resource, path: string): boolean {
  const { firstAsked } = ca.store;
  if (!firstAsked.has(path)) firstAsked.set(path, ca.now());
  const ms = ca.options.unknownForMs[resource];
  return ms !== undefined && ca.now() < (firstAsked.get(path) ?? 0) + ms;
}
