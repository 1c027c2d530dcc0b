import { basename, join } from 'node:path';
import type { Found } from '../found.ts';
import { httpsUrl, objectOf, textOf, textsOf } from '../json.ts';
import type { ForeignAccount, Reader } from '../reader.ts';
import type { Folder } from '../scan.ts';
import { wellKnownDirectory } from '../well-known.ts';

/**
 * lego: `accounts/<host>/<mail>/account.json` (`email`, `registration`), with the key in PEM: version 4
 * in a folder `keys` below, version 5 (which adds `id` and `keyType`) beside it, one folder for each
 * type of key. The path tells the host of the directory, but not its path.
 */
export const lego: Reader = (folder, at) =>
  folder.files.flatMap((file): ForeignAccount[] => {
    if (file.kind !== 'json') return [];
    const registration = objectOf(file.object['registration']);
    if (registration === undefined || !('email' in file.object)) return [];
    const isFive = 'keyType' in file.object || 'id' in file.object;
    const key = keyOf(
      folder,
      at(join(folder.path, 'keys')),
      file.object['id'] ?? file.object['email'],
    );
    if (key === undefined) return [];
    // The last releases before 5.0 and first of it wrote the account itself in place of {body, uri}.
    const body = objectOf(registration['body']) ?? registration;
    const accountUrl = httpsUrl(registration['uri'] ?? registration['accountURL']);
    const email = textOf(file.object['email']);
    const kept = textsOf(body['contact']);
    return [
      {
        client: isFive ? 'lego 5' : 'lego 4',
        directoryUrl: wellKnownDirectory(accountUrl),
        accountUrl,
        contact: kept.length > 0 || email === undefined ? kept : [`mailto:${email}`],
        privateJwk: key.jwk,
        paths: [file.path, key.path],
      },
    ];
  });

function keyOf(
  folder: Folder,
  below: Folder | undefined,
  id: unknown,
): (Found & { kind: 'pem-key' }) | undefined {
  const keys = [...folder.files, ...(below?.files ?? [])].filter((file) => file.kind === 'pem-key');
  // Several lie there when the type of key was changed, or by hand: the one that has the account's name.
  return keys.length === 1
    ? keys[0]
    : keys.find(({ path }) => basename(path) === `${String(id)}.key`);
}
