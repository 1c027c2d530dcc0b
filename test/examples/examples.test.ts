import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, expect, test } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import { pebbleForTests } from '../helpers/pebble.ts';
import { testFolder } from '../helpers/sweep.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAME = 'www.example.org';

const folder = await testFolder('examples');
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs an example in an own folder, as a user of the built package would; gives what it printed. */
async function run(name: string, args: string[], env: Record<string, string>): Promise<string> {
  // Inside of the package, where the name pgacme/acme leads to what was built; Node 20 knows no types.
  const compiled = join(ROOT, 'dist-examples', `${name}.js`);
  const source = await readFile(join(ROOT, 'examples', `${name}.ts`), 'utf8');
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  });
  await mkdir(join(ROOT, 'dist-examples'), { recursive: true });
  await writeFile(compiled, outputText);
  const { stdout } = await promisify(execFile)(process.execPath, [compiled, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...env },
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
