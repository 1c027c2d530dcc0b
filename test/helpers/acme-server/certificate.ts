import { owned } from './authorization.ts';
import type { Signed } from './jws.ts';
import { type Answer, Refusal } from './problem.ts';
import type { Ca } from './store.ts';

/** Download (RFC 8555 §7.4.2); `n` above 0 is an alternate chain. */
export function certificate(ca: Ca, signed: Signed, id: string, n = '0'): Answer {
  const known = ca.store.certificates.get(id);
  const found = owned(signed, known, known?.account);
  const pem = found.chains[Number(n)];
  if (pem === undefined) throw new Refusal('malformed', 'There is no such chain.', 404);
  const link = found.chains.flatMap((_, index) => {
    const url = ca.link('certificate', id, ...(index > 0 ? [String(index)] : []));
    return String(index) === n ? [] : [`<${url}>;rel="alternate"`];
  });
  return {
    status: 200,
    headers: { link },
    body: ca.options.certificate.pem?.(pem) ?? pem,
    contentType: 'application/pem-certificate-chain',
  };
}
