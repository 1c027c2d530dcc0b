import { type HttpAnswer, jsonOf } from './answer.ts';
import { optionalText, urlMember } from './guards.ts';
import { isObject } from './problem.ts';
import { isPlain, type JsonObject, printable } from './text.ts';

/** The directory of a server (RFC 8555 §7.1.1; `renewalInfo` RFC 9773 §4.1). */
export interface Directory {
  newNonce: string;
  newAccount: string;
  newOrder: string;
  revokeCert?: string;
  keyChange?: string;
  newAuthz?: string;
  renewalInfo?: string;
  meta: DirectoryMeta;
}

/** What a server says about itself (RFC 8555 §7.1.1, §9.7.6; `profiles` draft-ietf-acme-profiles). */
export interface DirectoryMeta {
  /** A URL, which need not be https: a `data:` URL is allowed. */
  termsOfService?: string;
  website?: string;
  caaIdentities?: string[];
  externalAccountRequired?: boolean;
  /** Name to description; descriptions are printable. */
  profiles?: Record<string, string>;
}

const OPTIONAL = ['revokeCert', 'keyChange', 'newAuthz', 'renewalInfo'] as const;

/** A resource that a directory may lack. */
export type OptionalResource = (typeof OPTIONAL)[number];

/**
 * Reads a directory. The three URLs that issuance needs must be there; unknown members are ignored
 * (some CAs add a random one to see that clients do so), and so are broken optional ones.
 */
export function directoryOf(answer: HttpAnswer): Directory {
  const object = jsonOf(answer);
  const directory: Directory = {
    newNonce: urlMember(answer.url, object, 'newNonce'),
    newAccount: urlMember(answer.url, object, 'newAccount'),
    newOrder: urlMember(answer.url, object, 'newOrder'),
    meta: isObject(object['meta']) ? metaOf(object['meta']) : {},
  };
  for (const name of OPTIONAL) {
    const url = optionalText(object, name);
    if (url !== undefined) directory[name] = url;
  }
  return directory;
}

function metaOf(object: JsonObject): DirectoryMeta {
  const meta: DirectoryMeta = {};
  for (const name of ['termsOfService', 'website'] as const) {
    const text = optionalText(object, name);
    if (text !== undefined) meta[name] = text;
  }
  const { caaIdentities, externalAccountRequired, profiles } = object;
  if (Array.isArray(caaIdentities)) {
    meta.caaIdentities = caaIdentities.filter(
      (name): name is string => typeof name === 'string' && isPlain(name, 300),
    );
  }
  if (typeof externalAccountRequired === 'boolean') {
    meta.externalAccountRequired = externalAccountRequired;
  }
  if (isObject(profiles)) {
    meta.profiles = Object.fromEntries(
      Object.entries(profiles)
        .filter(([name]) => isPlain(name, 100))
        .map(([name, about]) => [name, typeof about === 'string' ? printable(about, 500) : '']),
    );
  }
  return meta;
}
