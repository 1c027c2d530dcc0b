/**
 * An ACME account and nothing else: registers it, reads it, changes its contact, gives it a new key. No
 * certificate, no web server. Writes account.json, which is the account: keep it secret, and keep it.
 *
 *   node examples/account-only.ts mailto:ops@example.org --agree-to-terms
 *
 * ACME_DIRECTORY names another CA than Let's Encrypt's staging; ACME_CA_BUNDLE a PEM file with the CA of
 * its HTTPS, where that is a private one.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import {
  changeKey,
  contactProblem,
  generateAccountKey,
  getAccount,
  newAccount,
  Server,
  updateAccount,
} from 'pgacme/acme';

const [contact = '', agreement] = process.argv.slice(2);
const {
  ACME_DIRECTORY = 'https://acme-staging-v02.api.letsencrypt.org/directory',
  ACME_CA_BUNDLE: bundle,
} = process.env;

const problem = contactProblem(contact);
if (problem !== undefined) throw new Error(problem);

const server = new Server({
  directoryUrl: ACME_DIRECTORY,
  ...(bundle === undefined ? {} : { caBundle: await readFile(bundle, 'utf8') }),
});

// RFC 8555 §7.3: a person agrees, not a program.
const { termsOfService, externalAccountRequired } = (await server.directory()).meta;
console.log(`Terms of service: ${termsOfService ?? 'none'}`);
if (agreement !== '--agree-to-terms') throw new Error('Read them, then add --agree-to-terms.');
if (externalAccountRequired) throw new Error('This CA wants an externalAccountBinding as well.');

// The key is stored before the CA hears of it: an account without its key is lost.
const save = (url: string, privateJwk: object) =>
  writeFile('account.json', JSON.stringify({ url, privateJwk }));
const key = await generateAccountKey();
await create('account.json', { url: '', privateJwk: key.privateJwk });
const { url, created } = await newAccount(server, key, { termsOfServiceAgreed: true });
await save(url, key.privateJwk);
const account = { server, url, key };
console.log(`${created ? 'Registered' : 'Found'}: ${url}`);

const { contact: kept } = await updateAccount(account, { contact: [contact] });
console.log(`Contact: ${kept.join(', ') || 'not kept by this CA'}`);

// A new key. Both are kept until the new one has worked: an answer may be lost on its way.
const newKey = await generateAccountKey();
await create('account-new-key.json', newKey.privateJwk);
await changeKey(account, newKey);
const { status } = await getAccount({ ...account, key: newKey });
await save(url, newKey.privateJwk);
await rm('account-new-key.json');
console.log(`With its new key the account is ${status}.`);
await server.close();

/** Makes a file that its owner alone may read, and never writes over one of an earlier run. */
async function create(file: string, content: object): Promise<void> {
  const options = { mode: 0o600, flag: 'wx' };
  await writeFile(file, JSON.stringify(content), options).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    throw new Error(
      `${file} is there already, and may hold the only key of an account. Keep it under another name, or work in another folder.`,
    );
  });
}
