import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** What another process, the owner of a local part, said about it. */
export interface Owned {
  /** The part's process, url and so on, as its start function returned them. */
  part: Record<string, unknown>;
  /** Kills the owner as the kernel does when memory runs out, and waits until it is gone. */
  killOwner(): Promise<void>;
  /** Has the owner call stop() and end. */
  stopOwner(): Promise<void>;
}

const SCRIPT = `
const [module, name, options] = process.argv.slice(1);
const part = await (await import(module))[name](JSON.parse(options));
console.log(JSON.stringify(part));
process.stdin.once('data', () => part.stop().then(() => process.exit(0)));
`;

/** Runs a start function of the built src/local in a Node process of its own, also as another user. */
export async function startedElsewhere(
  module: string,
  name: string,
  options: object,
  as: { uid?: number; gid?: number } = {},
): Promise<Owned> {
  const file = builtFile(module);
  if (!existsSync(file)) throw new Error(`${file} is not built; run npm run build first.`);
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', SCRIPT, file, name, JSON.stringify(options)],
    { cwd: '/', stdio: 'pipe', ...as },
  );
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('close', (code) => {
      reject(new Error(`The owner ended with ${String(code)}: ${errors}`));
    });
  });
  return {
    part: JSON.parse(line) as Record<string, unknown>,
    killOwner() {
      child.kill('SIGKILL');
      return gone;
    },
    stopOwner() {
      child.stdin.write('stop\n');
      return gone;
    },
  };
}

/** The path of a module of src/local as `npm run build` writes it. */
export function builtFile(module: string): string {
  return fileURLToPath(new URL(`../../dist/local/${module}.js`, import.meta.url));
}
