import { AcmeProblem, AcmeTrouble } from '../acme/index.ts';
import { chainTop, type IssuedVerdict, leadsTo } from '../x509/index.ts';

interface Fetched {
  chainPem: string;
  alternates: readonly string[];
}

/**
 * Chooses among the chains that a server offers for one certificate (RFC 8555 §7.4.2, Link
 * rel="alternate"): the first that leads to the wanted name or key. `offered`: none does, and where they
 * lead. An alternate that cannot be had, does not verify, or is of another certificate is none: the
 * certificate is good without it.
 */
export async function chooseChain(
  { wanted, leafPem }: { wanted: string; leafPem: string },
  fetched: Fetched,
  verify: (chainPem: string) => Promise<IssuedVerdict>,
  fetch: (url: string) => Promise<Fetched>,
): Promise<{ chainPem: string } | { offered: string[] }> {
  const offered: string[] = [];
  for (const next of [
    () => Promise.resolve(fetched),
    ...fetched.alternates.map((url) => () => fetch(url)),
  ]) {
    const chainPem = await next().then(
      (one) => one.chainPem,
      (error: unknown) => {
        if (error instanceof AcmeProblem || error instanceof AcmeTrouble) return '';
        throw error;
      },
    );
    const top = chainTop(chainPem);
    if (top === undefined) continue;
    const verdict = leadsTo(top, wanted) ? await verify(chainPem) : undefined;
    if (verdict?.ok === true && verdict.certificate.leafPem === leafPem) {
      return { chainPem: verdict.certificate.chainPem };
    }
    offered.push(`${top.root} (${top.keys.at(-1) ?? 'no issuer in the chain'})`);
  }
  return { offered };
}
