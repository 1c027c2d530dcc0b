import {
  type AccountKey,
  generateAccountKey,
  importAccountKey,
  type KeyAlgorithm,
} from '../acme/index.ts';
import { open, seal, type SealingKeys } from './seal.ts';

/** Whose key it is. */
export interface KeyOwner {
  /** `acme.account.name`. */
  account: string;
  /** Scheme, host and port of its server's directory. */
  origin: string;
}

/**
 * Where account keys live. The default keeps them in the database, sealed. Keys that a KMS or an HSM
 * holds are an object of this shape: `make` has one made there and returns what finds it again, `open`
 * gives one whose `sign` asks there. All workers of a database have the same.
 */
export interface AccountKeys {
  /** Makes a key. `stored` goes into the database: no secret, unless it is sealed. */
  make(owner: KeyOwner, alg: KeyAlgorithm): Promise<{ stored: string; key: AccountKey }>;
  /** The key that `stored` stands for. Throws PgacmeError ERR_SEALED where this worker cannot use it. */
  open(owner: KeyOwner, stored: string): Promise<AccountKey>;
}

/** Account keys in the database, sealed by PGACME_SECRET_KEY. */
export function sealedAccountKeys(keys: SealingKeys): AccountKeys {
  return {
    async make(owner, alg) {
      const key = await generateAccountKey(alg);
      return { stored: await seal(keys, keyBinding(owner), key.privateJwk), key };
    },
    async open(owner, stored) {
      const jwk = await open(keys, keyBinding(owner), stored);
      return importAccountKey(jwk as Parameters<typeof importAccountKey>[0]);
    },
  };
}

/** What a sealed account key is bound to. */
export function keyBinding({ account, origin }: KeyOwner) {
  return { purpose: 'account-key', row: account, origin } as const;
}

/** What the sealed HMAC key of an external account binding is bound to. */
export function eabBinding({ account, origin }: KeyOwner) {
  return { purpose: 'eab-hmac', row: account, origin } as const;
}
