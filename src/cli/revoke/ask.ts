import { type AccountKey, AcmeProblem, revokeCertificate, Server } from '../../acme/index.ts';
import { PgacmeError } from '../../errors.ts';
import { asSentence } from '../sentence.ts';
import type { ServerRow } from './subject.ts';

/** Asks once (RFC 8555 §7.6), signed with the certificate's own key. True: it was revoked already. */
export async function askToRevoke(
  row: ServerRow,
  key: AccountKey,
  der: Uint8Array,
  reason: number | undefined,
): Promise<boolean> {
  const server = new Server({
    directoryUrl: row.directory_url,
    allowedHosts: row.allowed_hosts,
    ...(row.ca_bundle === null ? {} : { caBundle: row.ca_bundle }),
  });
  try {
    await revokeCertificate({ server, key }, der, reason);
    return false;
  } catch (error) {
    if (!(error instanceof AcmeProblem)) throw error;
    if (error.is('alreadyRevoked')) return true;
    throw new PgacmeError('ERR_REVOKE', refusal(row, error), { cause: error });
  } finally {
    await server.close();
  }
}

function refusal({ name }: ServerRow, problem: AcmeProblem): string {
  const { type, detail } = problem;
  const said = asSentence(
    `${name} did not revoke it: ${type}${detail === '' ? '' : `: ${detail}`}`,
  );
  if (problem.is('badRevocationReason')) return `${said} Give another --reason.`;
  return `${said} Check with --server that this is who issued it.`;
}
