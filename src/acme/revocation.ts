import type { Account } from './account.ts';
import type { Call } from './http.ts';
import type { AccountKey } from './key.ts';
import type { Server } from './server.ts';

/**
 * Asks the CA to revoke a certificate (RFC 8555 §7.6). The signer is the account that ordered it, one that
 * holds authorizations for all its identifiers, or, without an account, the certificate's own key. `reason`
 * is a code of RFC 5280 §5.3.1; CAs take some of them only (AcmeProblem `badRevocationReason`). AcmeProblem
 * `alreadyRevoked` says that nothing is left to do.
 */
export async function revokeCertificate(
  signer: Account | { server: Server; key: AccountKey },
  certificateDer: Uint8Array,
  reason?: number,
  call: Call = {},
): Promise<void> {
  const { server } = signer;
  const endpoint = await server.resource('revokeCert', call);
  const { buffer, byteOffset, byteLength } = certificateDer;
  const certificate = Buffer.from(buffer, byteOffset, byteLength).toString('base64url');
  await server.post(signer, endpoint, { certificate, reason }, call);
}
