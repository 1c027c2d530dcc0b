import { createDecipheriv, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { compactDecrypt, CompactEncrypt, decodeProtectedHeader, errors } from 'jose';
import { importAccountKey } from '../acme/index.ts';
import {
  type AccountFile,
  accountOf,
  contentOf,
  type Label,
  labelOf,
  requirePlain,
} from './content.ts';
import { accountFileError } from './error.ts';
import { type JsonObject, jsonObject } from './json.ts';

const FORMAT = 'pgacme-account';
const VERSION = 1;
const ALG = 'PBES2-HS512+A256KW';
const ENC = 'A256GCM';
/** Rounds of PBKDF2 with SHA-512: what OWASP asks for (2023), a fifth of a second of one core for each try. */
const ROUNDS = 210_000;
/** What a file may ask for: fewer would not be ours, more would only cost time. */
const MIN_ROUNDS = 200_000;
const MAX_ROUNDS = 2_000_000;
/** A passphrase that a person remembers is a few words; a file leaves the house and can be tried at leisure. */
const MIN_PASSPHRASE = 12;

/**
 * Writes an account into one text (JSON) that only its passphrase opens: a JWE (RFC 7516) whose key is
 * made of the passphrase (PBES2, RFC 7518 §4.8), and beside it, in clear, what the file is of.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE for a short passphrase, a thumbprint that is not the key's, or a text
 * with control characters.
 */
export async function sealAccountFile(account: AccountFile, passphrase: string): Promise<string> {
  requirePassphrase(passphrase);
  await requireKey(account);
  const content = contentOf(FORMAT, VERSION, account);
  requirePlain(content);
  const sealed = await new CompactEncrypt(new TextEncoder().encode(JSON.stringify(content)))
    .setProtectedHeader({ alg: ALG, enc: ENC })
    .setKeyManagementParameters({ p2c: ROUNDS })
    .encrypt(new TextEncoder().encode(passphrase));
  const file = { format: FORMAT, version: VERSION, ...labelOf(account), sealed };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

/** Whether a text says that it is an export of ours, of whatever version, whole or not. */
export function isAccountFile(text: string): boolean {
  return jsonObject(text)?.['format'] === FORMAT || isCut(text);
}

function isCut(text: string): boolean {
  const begin = new RegExp(`^\\s*\\{\\s*"format"\\s*:\\s*"${FORMAT}"`);
  return jsonObject(text) === undefined && begin.test(text);
}

/**
 * Opens what {@link sealAccountFile} wrote.
 *
 * @throws PgacmeError ERR_ACCOUNT_FILE: not an export, of a newer version, a wrong passphrase, or changed since.
 */
export async function openAccountFile(text: string, passphrase: string): Promise<AccountFile> {
  const file = jsonObject(text);
  if (isCut(text)) {
    throw accountFileError(
      'The file is not whole: it begins as an export of pgacme and does not end as one. Take the file from where it was kept.',
    );
  }
  if (file?.['format'] !== FORMAT) {
    throw accountFileError(
      'This is not an account that pgacme exported. Give the file that pgacme account export wrote, whole.',
    );
  }
  requireVersion(file['version']);
  const account = accountOf(await unseal(file['sealed'], passphrase));
  const changed = changedMember(file, labelOf(account));
  if (changed !== undefined) {
    throw accountFileError(
      `The file was changed since it was exported: its ${changed} is not the one that is sealed in it. Take the file from where it was kept.`,
    );
  }
  await requireKey(account);
  return account;
}

function requireVersion(version: unknown): void {
  if (version === VERSION) return;
  if (typeof version === 'number' && version > VERSION) {
    throw accountFileError(
      `The file is of version ${version} of this format, this pgacme knows ${VERSION}. Update pgacme and import it again.`,
    );
  }
  throw accountFileError(
    'The file does not say which version of the format it is. Take the file that was exported.',
  );
}

function requirePassphrase(passphrase: string): void {
  if ([...passphrase].length >= MIN_PASSPHRASE) return;
  throw accountFileError(
    `The passphrase is too short: an export takes at least ${MIN_PASSPHRASE} characters. One can be made with: openssl rand -base64 24`,
  );
}

async function unseal(sealed: unknown, passphrase: string): Promise<string> {
  const secret = new TextEncoder().encode(passphrase);
  if (typeof sealed !== 'string' || !isOurs(sealed)) throw damaged();
  try {
    const { plaintext } = await compactDecrypt(sealed, secret, {
      keyManagementAlgorithms: [ALG],
      contentEncryptionAlgorithms: [ENC],
      maxPBES2Count: MAX_ROUNDS,
    });
    return new TextDecoder().decode(plaintext);
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    // jose says the same of a wrong key and of changed content, as it must where somebody could ask it
    // again and again. Whoever has this file can try passphrases anyway: here they are told apart.
    if (await opensKey(sealed, secret)) throw damaged(error);
    throw accountFileError(
      'The passphrase does not open this file. Give the one that it was exported with.',
      error,
    );
  }
}

function damaged(cause?: unknown): Error {
  return accountFileError(
    'The file was changed or damaged since it was exported: its sealed part is not what pgacme wrote. Take the file from where it was kept.',
    cause,
  );
}

/** Whether a JWE has the header that an export has; its rounds are checked before they are worked. */
function isOurs(sealed: string): boolean {
  try {
    const { alg, enc, p2c, p2s } = decodeProtectedHeader(sealed);
    return (
      alg === ALG &&
      enc === ENC &&
      typeof p2s === 'string' &&
      typeof p2c === 'number' &&
      Number.isInteger(p2c) &&
      p2c >= MIN_ROUNDS &&
      p2c <= MAX_ROUNDS
    );
  } catch {
    return false;
  }
}

/** Whether the passphrase unwraps the key of the content (RFC 7518 §4.8.1.1, RFC 3394 §2.2.3). */
async function opensKey(sealed: string, secret: Uint8Array): Promise<boolean> {
  const { p2s, p2c } = decodeProtectedHeader(sealed);
  const salt = Buffer.concat([Buffer.from(`${ALG}\0`), Buffer.from(String(p2s), 'base64url')]);
  const key = await promisify(pbkdf2)(secret, salt, Number(p2c), 32, 'sha512');
  try {
    const unwrap = createDecipheriv('id-aes256-wrap', key, Buffer.alloc(8, 0xa6));
    unwrap.update(Buffer.from(sealed.split('.')[1] ?? '', 'base64url'));
    unwrap.final();
    return true;
  } catch {
    return false;
  }
}

function changedMember(file: JsonObject, sealed: Label): string | undefined {
  return Object.entries(sealed).find(([name, value]) => file[name] !== value)?.[0];
}

/** The key must be one that can sign, and the one that the label names. */
async function requireKey({ privateJwk, thumbprint }: AccountFile): Promise<void> {
  const key = await importAccountKey(privateJwk).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw accountFileError(`The account in the file cannot be used: ${why}`, cause);
  });
  if (key.thumbprint !== thumbprint) {
    throw accountFileError('The account key in the file is not the key whose thumbprint it names.');
  }
}
