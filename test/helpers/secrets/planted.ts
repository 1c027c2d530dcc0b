import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { makeLogger } from '../../../src/log.ts';
import type { FreshDatabase } from '../postgres.ts';

/** Private keys that were written down where none may be, each in a form of its own. */
export interface Planted {
  /** By their forms: the numbers that are the secret of each key. */
  keys: Record<string, Buffer>;
  /** The same as a worker would have logged them; the raw one is in no text. */
  lines: string[];
}

const forms: Record<string, (key: KeyObject, secret: Buffer) => string | Buffer> = {
  raw: (_, secret) => secret,
  hex: (_, secret) => secret.toString('hex'),
  'upper-case hex': (_, secret) => secret.toString('hex').toUpperCase(),
  base64: (_, secret) => secret.toString('base64'),
  base64url: (_, secret) => secret.toString('base64url'),
  JWK: (key) => JSON.stringify(key.export({ format: 'jwk' })),
  'PKCS #8': (key) => key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  'SEC 1': (key) => key.export({ type: 'sec1', format: 'pem' }).toString(),
  // PostgreSQL compresses it, so that no file has it in clear.
  'a long text': (key) => key.export({ type: 'pkcs8', format: 'pem' }).toString().repeat(100),
};

/** Writes a key in each form into a table of the database, which brings it into all that PostgreSQL keeps. */
export async function plant({ sql }: FreshDatabase): Promise<Planted> {
  const planted: Planted = { keys: {}, lines: [] };
  const log = makeLogger('info', { write: (line) => planted.lines.push(line) });
  await sql`create table public.planted (form text, text text, bytes bytea)`;
  for (const [form, write] of Object.entries(forms)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const secret = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
    planted.keys[form] = secret;
    const written = write(privateKey, secret);
    const isText = typeof written === 'string';
    if (isText) log.info({ [form]: written }, 'planted');
    await sql`
      insert into public.planted
      values (${form}, ${isText ? written : null}, ${isText ? null : written}::bytea)`;
  }
  return planted;
}
