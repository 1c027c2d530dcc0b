import { absolute, header, type Headers, linkTargets, retryAfterMs } from './headers.ts';
import { AcmeProblem, AcmeTrouble, isAcmeType, isObject, problemDocument } from './problem.ts';
import { isPlain, type JsonObject, printable } from './text.ts';

const EXCERPT = 200;

/** A whole HTTP answer, its body within the bound. */
export interface HttpAnswer {
  url: string;
  status: number;
  headers: Headers;
  body: Buffer;
}

/** A resource that the CA answered with (RFC 8555 §7.1), and how long it asks to wait before the next look. */
export interface Answer<T> {
  value: T;
  /** Milliseconds from now, whole, 0 to eight days; absent where the answer has no Retry-After. */
  retryAfterMs?: number;
}

/** Joins a parsed resource with the Retry-After of its answer. */
export function answerWith<T>(value: T, http: HttpAnswer): Answer<T> {
  const wait = retryAfterMs(http.headers);
  return wait === undefined ? { value } : { value, retryAfterMs: wait };
}

/** The body as a JSON object; throws ERR_ACME_NOT_JSON or ERR_ACME_BAD_ANSWER. */
export function jsonOf(http: HttpAnswer): JsonObject {
  const value = jsonValueOf(http);
  if (!isObject(value)) throw badAnswer(http.url, 'JSON that is not an object');
  return value;
}

/** The body as any JSON; throws ERR_ACME_NOT_JSON. */
export function jsonValueOf(http: HttpAnswer): unknown {
  try {
    return JSON.parse(http.body.toString('utf8'));
  } catch {
    throw new AcmeTrouble(
      'ERR_ACME_NOT_JSON',
      `${printable(http.url, 200)} answered something that is not JSON; check that the directory URL is an ACME server's.`,
      factsOf(http),
    );
  }
}

/** Whether an answer has no body, where that of the resource was to be expected. */
export function isEmpty({ body }: HttpAnswer): boolean {
  return body.toString('latin1').trim() === '';
}

/** The trouble of an answer of the wrong shape; `what` says what was found or missed. */
export function badAnswer(url: string, what: string): AcmeTrouble {
  return new AcmeTrouble(
    'ERR_ACME_BAD_ANSWER',
    `${printable(url, 200)} answered ${what}; try again later, or report it to the CA.`,
  );
}

/** The URL in the Location field (RFC 8555 §7.3, §7.4), which is the identity of what was made. */
export function locationOf(http: HttpAnswer): string {
  const url = plainLocation(http);
  if (url === undefined) throw badAnswer(http.url, 'without a Location that is a URL');
  return url;
}

function plainLocation({ headers, url }: HttpAnswer): string | undefined {
  const location = header(headers, 'location');
  const found = location === undefined ? undefined : absolute(location, url);
  return found !== undefined && /^[\x21-\x7e]{1,2000}$/.test(found) ? found : undefined;
}

/** The error that an answer with a status outside 200 to 299 stands for. */
export function failureOf(http: HttpAnswer): AcmeProblem | AcmeTrouble {
  const { url, status, headers } = http;
  const where = printable(url, 200);
  if (status >= 300 && status < 400) {
    // RFC 8555 §6.4: a signature covers the URL, so a request cannot be sent on to another one.
    return new AcmeTrouble(
      'ERR_ACME_REDIRECT',
      `${where} answered ${status}, a redirect to ${printable(header(headers, 'location') ?? 'nowhere', 200)}, and redirects are not followed; use the CA's current directory URL.`,
      factsOf(http),
    );
  }
  const document = problemIn(http);
  if (document === undefined) {
    return new AcmeTrouble(
      'ERR_ACME_HTTP',
      `${where} answered ${status} without a problem document; try again later, and check that the directory URL is an ACME server's.`,
      factsOf(http),
    );
  }
  return new AcmeProblem(problemDocument(document), {
    url,
    status,
    retryAfterMs: retryAfterMs(headers),
    helpUrl: plainLink(http, 'help'),
    termsOfServiceUrl: plainLink(http, 'terms-of-service'),
    location: plainLocation(http),
  });
}

/**
 * RFC 8555 §6.7: problem documents have a media type of their own. Some CAs send them as plain JSON; that is taken
 * for one if its type is ACME's, and nothing else is.
 */
function problemIn({ headers, body }: HttpAnswer): JsonObject | undefined {
  const type = header(headers, 'content-type') ?? '';
  const isProblem = /^\s*application\/problem\+json\s*(;|$)/i.test(type);
  if (!isProblem && !/^\s*application\/json\s*(;|$)/i.test(type)) return undefined;
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) && (isProblem || isAcmeType(value['type'])) ? value : undefined;
  } catch {
    return undefined;
  }
}

function plainLink({ headers, url }: HttpAnswer, rel: string): string | undefined {
  return linkTargets(headers, rel, url).find((target) => isPlain(target, 2000));
}

function factsOf({ status, headers, body }: HttpAnswer) {
  const type = header(headers, 'content-type');
  return {
    status,
    contentType: type === undefined ? undefined : printable(type, 100),
    excerpt: printable(body.toString('utf8', 0, 8 * EXCERPT), EXCERPT),
    retryAfterMs: retryAfterMs(headers),
  };
}
