// Stands in for openssl on machines that have none: what the documents call, and nothing else.
//   openssl rand -base64 32
//   openssl req -new … -keyout FILE -addext subjectAltName=DNS:a,DNS:b -out FILE
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { makeCsr } from '../../../dist/x509/index.js';

const [command, ...args] = process.argv.slice(2);
const option = (name) => args[args.indexOf(name) + 1];

if (command === 'rand') {
  process.stdout.write(`${randomBytes(Number(args.at(-1))).toString('base64')}\n`);
} else if (command === 'req' && args.includes('-new')) {
  const [, list] = option('-addext').split('=');
  const names = list.split(',').map((entry) => entry.replace(/^DNS:/, ''));
  const { pem, keyPem } = await makeCsr({ names });
  await writeFile(option('-keyout'), keyPem, { mode: 0o600 });
  await writeFile(option('-out'), pem);
} else {
  process.stderr.write(`this stand-in for openssl knows no ${command}\n`);
  process.exitCode = 1;
}
