import { AcmeProblem, AcmeTrouble } from '../../acme/index.ts';
import { chainTop, type IssuedCertificate, type IssuedVerdict, leadsTo } from '../../x509/index.ts';

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
): Promise<{ certificate: IssuedCertificate } | { offered: string[] }> {
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
    // Only a chain that verifies is sorted, and has a top.
    const verdict = chainPem === '' ? undefined : await verify(chainPem);
    if (verdict?.ok !== true || verdict.certificate.leafPem !== leafPem) continue;
    const top = chainTop(verdict.certificate.chainPem);
    if (top === undefined) continue;
    if (leadsTo(top, wanted)) return { certificate: verdict.certificate };
    offered.push(`${top.root} (${top.rootKey ?? 'it names no key'})`);
  }
  return { offered };
}
