import { httpsUrl, textsOf } from '../json.ts';
import type { Reader } from '../reader.ts';
import { wellKnownDirectory } from '../well-known.ts';

/**
 * Caddy: `acme/<host-and-path>/users/<mail>/` with a `.json` (the account as the server gave it, with its
 * URL as `location`) and a `.key` in PEM. The folder's name is the directory URL with its slashes and
 * colons made dashes, in lower case, and cannot be read back.
 */
export const caddy: Reader = ({ files }) => {
  const key = files.find((file) => file.kind === 'pem-key');
  const account = files.find(
    (file) => file.kind === 'json' && 'status' in file.object && httpsUrl(file.object['location']),
  );
  if (key?.kind !== 'pem-key' || account?.kind !== 'json') return [];
  const accountUrl = httpsUrl(account.object['location']);
  return [
    {
      client: 'Caddy',
      directoryUrl: wellKnownDirectory(accountUrl),
      accountUrl,
      contact: textsOf(account.object['contact']),
      privateJwk: key.jwk,
      paths: [key.path, account.path],
    },
  ];
};
