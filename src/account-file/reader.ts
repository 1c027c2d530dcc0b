import type { JWK } from 'jose';
import type { Folder } from './scan.ts';

/** An account as another client keeps it. */
export interface ForeignAccount {
  client: 'certbot' | 'lego 4' | 'lego 5' | 'acme.sh' | 'dehydrated' | 'Caddy' | 'a bare key';
  /** undefined: the client does not write it down in a form that can be read back. */
  directoryUrl: string | undefined;
  /** undefined: the client does not keep it; the server tells it for the key (RFC 8555 §7.3.1). */
  accountUrl: string | undefined;
  /** `mailto:` URLs, as far as the client keeps them. */
  contact: string[];
  eabKid?: string;
  privateJwk: JWK;
  /** The files that it was read from. */
  paths: string[];
}

/** Finds the accounts of one client in one folder; `at` gives other folders. */
export type Reader = (folder: Folder, at: (path: string) => Folder | undefined) => ForeignAccount[];
