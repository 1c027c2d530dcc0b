import { AcmeTrouble } from './problem.ts';
import { printable } from './text.ts';

/** Where a request goes: the parts of a URL that HTTP needs. */
export interface Target {
  url: string;
  origin: string;
  path: string;
}

/**
 * The hosts that requests for one server may go to: the directory's own, and those the operator lists
 * (`host` stands for port 443). A CA's answers are full of URLs, and without this a hostile or broken
 * one could send us anywhere in the internal network.
 */
export class Hosts {
  readonly #allowed: ReadonlySet<string>;

  constructor(directoryUrl: string, allowedHosts: readonly string[]) {
    const urls = [directoryUrl, ...allowedHosts.map((host) => `https://${host}`)];
    // URL folds case and drops the default port, so that equal hosts are equal texts.
    this.#allowed = new Set(
      urls.filter((url) => URL.canParse(url)).map((url) => new URL(url).host),
    );
  }

  /** Whether a URL may be visited. */
  allows(url: string): boolean {
    const parsed = parse(url);
    return parsed !== undefined && this.#refusal(parsed) === undefined;
  }

  /** Checks a URL before it is visited; throws ERR_ACME_FORBIDDEN_URL. */
  target(url: string): Target {
    const parsed = parse(url);
    const refusal = parsed === undefined ? 'it is not a URL' : this.#refusal(parsed);
    if (parsed === undefined || refusal !== undefined) {
      throw new AcmeTrouble(
        'ERR_ACME_FORBIDDEN_URL',
        `${printable(url, 200) || 'An empty URL'} is not visited: ${refusal}.`,
      );
    }
    return { url, origin: parsed.origin, path: parsed.pathname + parsed.search };
  }

  #refusal(url: URL): string | undefined {
    // RFC 8555 §6.1: everything but the challenges themselves goes over https.
    if (url.protocol !== 'https:') return 'ACME needs https';
    if (url.username !== '' || url.password !== '') return 'it holds a user name or password';
    if (this.#allowed.has(url.host)) return undefined;
    return `${url.host} is not the directory's host; if the CA does use it, list it among the server's allowed hosts`;
  }
}

function parse(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined;
  }
}
