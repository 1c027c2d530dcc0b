// Run by another user: starts PostgreSQL with the given module and migrates it twice with the given
// command line. The name localhost may stand for ::1 too, where nobody listens.
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

const [module, pgacme] = process.argv.slice(2);
const { startPostgres } = await import(module);
const server = await startPostgres({ dir: resolve('postgres of a test'), persistent: false });
try {
  const url = new URL(server.url);
  url.hostname = 'localhost';
  for (let time = 0; time < 2; time++) {
    const env = { ...process.env, DATABASE_URL: url.href };
    process.stdout.write(execFileSync(pgacme, ['migrate'], { encoding: 'utf8', env }));
  }
} finally {
  await server.stop();
}
