/**
 * Asks the CA to revoke a certificate: as the account that ordered it, or, where that is lost, with the
 * certificate's own key.
 *
 *   node examples/revoke.ts chain.pem 4
 *   node examples/revoke.ts chain.pem 1 privkey.pem
 *
 * The number is a reason of RFC 5280 §5.3.1: 0 unspecified, 1 key compromise, 4 superseded, 5 cessation of
 * operation; CAs may refuse others. ACME_DIRECTORY and ACME_CA_BUNDLE are those of account-only.ts.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AcmeProblem, importAccountKey, revokeCertificate, Server } from 'pgacme/acme';

const [chainFile = 'chain.pem', reason = '0', keyFile] = process.argv.slice(2);
const {
  ACME_DIRECTORY = 'https://acme-staging-v02.api.letsencrypt.org/directory',
  ACME_CA_BUNDLE: bundle,
} = process.env;

const server = new Server({
  directoryUrl: ACME_DIRECTORY,
  ...(bundle === undefined ? {} : { caBundle: await readFile(bundle, 'utf8') }),
});
try {
  const certificate = new X509Certificate(await readFile(chainFile));
  const signer = keyFile === undefined ? await storedAccount() : await certificateKey(keyFile);
  await revokeCertificate(signer, certificate.raw, Number(reason));
  console.log(`Revoked: ${certificate.serialNumber}`);
} catch (error) {
  if (!(error instanceof AcmeProblem) || error.type !== 'alreadyRevoked') throw error;
  console.log('It was revoked already.');
} finally {
  await server.close();
}

async function storedAccount() {
  const { url, privateJwk } = JSON.parse(await readFile('account.json', 'utf8')) as {
    url: string;
    privateJwk: Parameters<typeof importAccountKey>[0];
  };
  return { server, url, key: await importAccountKey(privateJwk) };
}

/** RFC 8555 §7.6: without a URL, the request shows the key itself. */
async function certificateKey(file: string) {
  const jwk = createPrivateKey(await readFile(file)).export({ format: 'jwk' });
  return { server, key: await importAccountKey(jwk) };
}
