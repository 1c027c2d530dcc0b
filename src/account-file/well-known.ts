/** Directories of CAs that have one for all accounts whose URLs are on a host: known from the account. */
const directories: ReadonlyMap<string, string> = new Map(
  [
    'https://acme-v02.api.letsencrypt.org/directory',
    'https://acme-staging-v02.api.letsencrypt.org/directory',
    'https://dv.acme-v02.api.pki.goog/directory',
    'https://dv.acme-v02.test-api.pki.goog/directory',
  ].map((url) => [new URL(url).host, url]),
);

/** The directory of a CA that is known by the host of its account URLs; undefined: it is not. */
export function wellKnownDirectory(accountUrl: string | undefined): string | undefined {
  if (accountUrl === undefined) return undefined;
  return directories.get(new URL(accountUrl).host);
}
