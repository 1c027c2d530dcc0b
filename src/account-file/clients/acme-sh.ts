import { sep } from 'node:path';
import { httpsUrl, textOf, textsOf } from '../json.ts';
import type { Reader } from '../reader.ts';
import { wellKnownDirectory } from '../well-known.ts';

/**
 * acme.sh: `ca/<host>/<path of the directory>/` with `account.key` (PEM), `account.json` (the account as
 * the server gave it) and `ca.conf` (`ACCOUNT_URL`, `CA_EMAIL`, `CA_EAB_KEY_ID`). The host in the path has
 * lost its port.
 */
export const acmeSh: Reader = ({ path, files }) => {
  const conf = files.find(
    (file) =>
      file.kind === 'shell' && (file.values.has('ACCOUNT_URL') || file.values.has('CA_KEY_HASH')),
  );
  const key = files.find((file) => file.kind === 'pem-key');
  if (conf?.kind !== 'shell' || key?.kind !== 'pem-key') return [];
  const accountUrl = httpsUrl(conf.values.get('ACCOUNT_URL'));
  const resource = files.find((file) => file.kind === 'json' && 'status' in file.object);
  const kept = resource?.kind === 'json' ? textsOf(resource.object['contact']) : [];
  const email = textOf(conf.values.get('CA_EMAIL'));
  const eabKid = textOf(conf.values.get('CA_EAB_KEY_ID'));
  return [
    {
      client: 'acme.sh',
      directoryUrl: directoryOf(path, accountUrl),
      accountUrl,
      contact: kept.length > 0 || email === undefined ? kept : [`mailto:${email}`],
      ...(eabKid === undefined ? {} : { eabKid }),
      privateJwk: key.jwk,
      paths: [key.path, conf.path, ...(resource === undefined ? [] : [resource.path])],
    },
  ];
};

function directoryOf(folder: string, accountUrl: string | undefined): string | undefined {
  const parts = folder.split(sep);
  const [host, ...path] = parts.slice(parts.lastIndexOf('ca') + 1);
  if (!parts.includes('ca') || host === undefined) return wellKnownDirectory(accountUrl);
  const account = accountUrl === undefined ? undefined : new URL(accountUrl);
  const authority = account?.hostname === host ? account.host : host;
  return httpsUrl(`https://${authority}/${path.join('/')}`);
}
