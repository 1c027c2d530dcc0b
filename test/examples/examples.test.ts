import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { generateAccountKey } from '../../src/acme/index.ts';
import { makeCsr } from '../../src/x509/index.ts';
import { json, rawCa } from '../acme/helpers/raw-ca.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { testFolder } from '../helpers/sweep.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAME = 'www.example.org';

const folder = await testFolder('examples');
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs an example in a folder, as a user of the built package would; gives what it printed. */
async function run(
  name: string,
  args: string[],
  env: Record<string, string>,
  cwd = folder,
): Promise<string> {
  // Inside of the package, where the name pgacme/acme leads to what was built; Node 20 knows no types.
  const compiled = join(ROOT, 'dist-examples', `${name}.js`);
  const source = await readFile(join(ROOT, 'examples', `${name}.ts`), 'utf8');
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  });
  await mkdir(join(ROOT, 'dist-examples'), { recursive: true });
  await writeFile(compiled, outputText);
  const { stdout } = await promisify(execFile)(process.execPath, [compiled, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    // One that never ends must not outlive its test.
    timeout: 60_000,
  });
  return stdout;
}

test('the examples make an account, get a certificate for a CSR, and revoke it twice over', async () => {
  const pebble = await pebbleForTests();
  await writeFile(join(folder, 'pebble.pem'), pebble.caPem);
  const env = {
    ACME_DIRECTORY: pebble.directoryUrl,
    ACME_CA_BUNDLE: 'pebble.pem',
    HTTP01_PORT: String(pebble.httpPort),
  };
  const mail = 'mailto:ops@example.org';
  await expect(run('account-only', [mail], env)).rejects.toThrow('then add --agree-to-terms');
  const account = await run('account-only', [mail, '--agree-to-terms'], env);
  expect(account).toContain(`Contact: ${mail}`);
  expect(account).toContain('With its new key the account is valid.');

  // Run once more it must not destroy what may be an account's only key.
  const stored = await readFile(join(folder, 'account.json'), 'utf8');
  await expect(run('account-only', [mail, '--agree-to-terms'], env)).rejects.toThrow(
    'account.json is there already, and may hold the only key of an account',
  );
  expect(await readFile(join(folder, 'account.json'), 'utf8')).toBe(stored);
  await rename(join(folder, 'account.json'), join(folder, 'first.json'));
  await writeFile(join(folder, 'account-new-key.json'), 'a key');
  await expect(run('account-only', [mail, '--agree-to-terms'], env)).rejects.toThrow(
    'account-new-key.json is there already',
  );
  expect(await readFile(join(folder, 'account-new-key.json'), 'utf8')).toBe('a key');
  await rename(join(folder, 'first.json'), join(folder, 'account.json'));

  const { pem, keyPem } = await makeCsr({ names: [NAME] });
  await writeFile(join(folder, 'request.pem'), pem);
  await writeFile(join(folder, 'privkey.pem'), keyPem);
  const ordered = await run('order-with-csr', ['request.pem', NAME], env);
  expect(ordered).toContain('The certificate and its chain are in chain.pem.');
  const chain = await readFile(join(folder, 'chain.pem'));
  expect(new X509Certificate(chain).subjectAltName).toBe(`DNS:${NAME}`);

  expect(await run('revoke', ['chain.pem', '4'], env)).toContain('Revoked: ');
  const again = await run('revoke', ['chain.pem', '1', 'privkey.pem'], env);
  expect(again).toBe('It was revoked already.\n');
}, 120_000);

test('an order that the server hands back is gone on with from where it is', async () => {
  const own = await testFolder('examples');
  onTestFinished(() => rm(own, { recursive: true, force: true }));
  const ca = await rawCa();
  const { pem } = await makeCsr({ names: [NAME] });
  const { privateJwk } = await generateAccountKey();
  await writeFile(join(own, 'ca.pem'), ca.pem);
  await writeFile(join(own, 'request.pem'), pem);
  await writeFile(
    join(own, 'account.json'),
    JSON.stringify({ url: `${ca.url}/account/1`, privateJwk }),
  );
  const order = (status: string, code = 200) =>
    json(
      {
        status,
        identifiers: [{ type: 'dns', value: NAME }],
        authorizations: [],
        finalize: `${ca.url}/finalize`,
        ...(status === 'valid' ? { certificate: `${ca.url}/cert` } : {}),
      },
      code,
      { location: `${ca.url}/order`, 'retry-after': '0' },
    );
  ca.on['/cert'] = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/pem-certificate-chain' });
    response.end(ca.pem);
  };
  const env = {
    ACME_DIRECTORY: `${ca.url}/dir`,
    ACME_CA_BUNDLE: 'ca.pem',
    HTTP01_PORT: '0',
  };
  for (const states of [['valid'], ['processing', 'valid']]) {
    let looks = 0;
    ca.on['/new-order'] = order(states[0] ?? '', 201);
    ca.on['/order'] = (request, response) => order(states[looks++] ?? 'valid')(request, response);
    const said = await run('order-with-csr', ['request.pem', NAME], env, own);
    expect(said).toContain('The certificate and its chain are in chain.pem.');
    expect(await readFile(join(own, 'chain.pem'), 'utf8')).toContain('BEGIN CERTIFICATE');
  }
  expect(ca.seen.map(({ path }) => path)).not.toContain('/finalize');
}, 120_000);
