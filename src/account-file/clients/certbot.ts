import { basename, dirname, sep } from 'node:path';
import { httpsUrl, objectOf, textsOf } from '../json.ts';
import type { Reader } from '../reader.ts';

/**
 * certbot: `accounts/<host>/<path of the directory>/<id>/` with `private_key.json` (a JWK) and
 * `regr.json` (`body`, `uri`). The directory URL stands in the path alone.
 */
export const certbot: Reader = ({ path, files }) => {
  const keys = files.filter((file) => file.kind === 'jwk');
  const regr = files.find(
    (file) => file.kind === 'json' && objectOf(file.object['body']) && 'uri' in file.object,
  );
  if (keys.length !== 1 || keys[0] === undefined || regr?.kind !== 'json') return [];
  const accountUrl = httpsUrl(regr.object['uri']);
  return [
    {
      client: 'certbot',
      directoryUrl: directoryOf(dirname(path)),
      accountUrl,
      contact: textsOf(objectOf(regr.object['body'])?.['contact']),
      privateJwk: keys[0].jwk,
      paths: [keys[0].path, regr.path],
    },
  ];
};

/** The path below `accounts` is the URL without its scheme; a copy may have lost what is above it. */
function directoryOf(folder: string): string | undefined {
  const parts = folder.split(sep);
  const at = parts.lastIndexOf('accounts');
  if (at === -1 || parts.length < at + 2 || basename(folder) === 'accounts') return undefined;
  return httpsUrl(`https://${parts.slice(at + 1).join('/')}`);
}
