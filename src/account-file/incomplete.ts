import { basename, join } from 'node:path';
import type { Found } from './found.ts';
import { objectOf } from './json.ts';
import { type Folder, legoKeys } from './scan.ts';

/** What a client's account lacks, as a sentence without its end, and the files that it showed in. */
export interface Lack {
  text: string;
  paths: string[];
}

/** Files that tell whose they are by their names: the key, what says of which account it is, and why it may not. */
const layouts = [
  {
    client: 'certbot',
    key: 'private_key.json',
    rest: 'regr.json',
    unlike: 'regr.json does not say of which account it is',
  },
  {
    client: 'acme.sh',
    key: 'account.key',
    rest: 'ca.conf',
    unlike: 'ca.conf does not say of which account it is',
  },
  {
    client: 'dehydrated',
    key: 'account_key.pem',
    rest: 'registration_info.json',
    unlike: 'the folder is not named after its server',
  },
] as const;

/** For folders in which no whole account was found: whose they look like, and what is missing or damaged. */
export function lacksOf(folders: readonly Folder[]): Lack[] {
  return folders.flatMap((folder) => [...byNames(folder), ...ofLego(folder)]);
}

function byNames({ path, files }: Folder): Lack[] {
  return layouts.flatMap(({ client, key, rest, unlike }) => {
    const named = (name: string) => files.find((file) => basename(file.path) === name);
    const [keyFile, restFile] = [named(key), named(rest)];
    if (keyFile === undefined && restFile === undefined) return [];
    const paths = [keyFile, restFile].flatMap((file) => (file === undefined ? [] : [file.path]));
    const enough = `; ${key} alone is enough where you name it, and the server with --server`;
    const text =
      keyLack(join(path, key), keyFile) ??
      (restFile === undefined || restFile.kind === 'unknown'
        ? `${join(path, rest)} ${restFile === undefined ? 'is not there' : 'is damaged'}${enough}`
        : `${unlike}${enough}`);
    return [{ text: `${client}: ${text}`, paths }];
  });
}

function ofLego({ path, files }: Folder): Lack[] {
  return files.flatMap((file) => {
    if (file.kind !== 'json' || objectOf(file.object['registration']) === undefined) return [];
    const [name] = legoKeys(file.object);
    if (name === undefined) return [];
    const isFive = 'keyType' in file.object || 'id' in file.object;
    const at = isFive ? join(path, name) : join(path, 'keys', name);
    return [{ text: `lego: ${keyLack(at, undefined)}`, paths: [file.path] }];
  });
}

/** undefined: nothing is wrong with it. */
function keyLack(path: string, file: Found | undefined): string | undefined {
  switch (file?.kind) {
    case undefined:
      return `${path} is not there, and without its key nothing can be imported`;
    case 'jwk':
    case 'pem-key':
      return undefined;
    case 'locked-key':
      return `${path} is locked with a password`;
    case 'json':
    case 'shell':
    case 'unknown':
    case 'other-key':
    case 'damaged-key':
      return `${path} is damaged, no private key can be read from it`;
  }
}
