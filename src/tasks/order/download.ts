import { downloadCertificate } from '../../acme/index.ts';
import type { Claim, OrderClaim } from '../../db/steps/steps.ts';
import { csrDer, verifyIssued } from '../../x509/index.ts';
import { certificateFacts } from '../certificate/certificate-facts.ts';
import { chooseChain } from '../certificate/choose-chain.ts';
import type { Hold } from '../context.ts';
import { remote } from '../remote.ts';
import { seenInDownload } from '../seen.ts';

/** Characters of a wrong certificate that are stored with the failure. */
const MAX_PEM = 12_000;

/**
 * Downloads the certificate (RFC 8555 §7.4.2), and stores it only if it is what the CSR asked for:
 * its key, its names, and a chain that verifies link by link.
 */
export async function download(claim: OrderClaim, hold: Hold): Promise<Claim[]> {
  const { steps, accounts, call, takeOther } = hold;
  const account = await accounts.signer(claim);
  const fetched = await remote('certificate.download', () =>
    downloadCertificate(account, claim.certificate_url ?? '', call),
  );
  await hold.seen.tell(account.live.record.server, seenInDownload(fetched.alternates));
  const verify = (chainPem: string) =>
    verifyIssued({ chainPem, csrDer: csrDer(claim.pem), identifiers: claim.identifiers });
  const verdict = await verify(fetched.chainPem);
  if (!verdict.ok) {
    return steps.stepFailed(
      claim,
      {
        class: 'refused',
        code: 'certificate_mismatch',
        text: `The server's certificate is not the one asked for and was not stored: ${verdict.reason}`,
        problem: {
          type: 'certificate_mismatch',
          detail: verdict.reason,
          // For whoever looks into it; never a key that a server should not have sent.
          ...(fetched.chainPem.includes('PRIVATE KEY')
            ? {}
            : { pem: fetched.chainPem.slice(0, MAX_PEM) }),
        },
      },
      takeOther,
    );
  }
  const facts = certificateFacts(verdict.certificate, claim.certificate_url);
  if (claim.preferred_chain === null) return steps.certificateStored(claim, facts, takeOther);
  const wanted = { wanted: claim.preferred_chain, leafPem: facts.leaf_pem };
  const choice = await chooseChain(wanted, fetched, verify, (url) =>
    remote('certificate.download', () => downloadCertificate(account, url, call)),
  );
  return steps.certificateStored(
    claim,
    'offered' in choice
      ? { ...facts, chains_offered: choice.offered }
      : certificateFacts(choice.certificate, claim.certificate_url),
    takeOther,
  );
}
