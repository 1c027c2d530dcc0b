import { basename } from 'node:path';
import { httpsUrl, textsOf } from '../json.ts';
import type { Reader } from '../reader.ts';

/**
 * dehydrated: `accounts/<the directory URL in base64url>/` with `account_key.pem`, `registration_info.json`
 * (the account as the server gave it) and, since 0.7, `account_id.json` (`url`).
 */
export const dehydrated: Reader = ({ path, files }) => {
  const directoryUrl = httpsUrl(Buffer.from(basename(path), 'base64url').toString('utf8').trim());
  const key = files.find((file) => file.kind === 'pem-key');
  if (directoryUrl === undefined || key?.kind !== 'pem-key') return [];
  const known = files.flatMap((file) => (file.kind === 'json' ? [file] : []));
  const id = known.find(({ object }) => httpsUrl(object['url']));
  const resource = known.find(({ object }) => 'status' in object);
  return [
    {
      client: 'dehydrated',
      directoryUrl,
      accountUrl: httpsUrl(id?.object['url']),
      contact: textsOf(resource?.object['contact']),
      privateJwk: key.jwk,
      paths: [key.path, ...known.map((file) => file.path)],
    },
  ];
};
