import { examine } from '../../../src/cli/doctor/examine.ts';
import type { Level } from '../../../src/cli/doctor/finding.ts';

/** What pgacme doctor prints with this environment, a line for each finding: `Group: level: text`. */
export async function findings(env: Record<string, string>): Promise<string[]> {
  const lines: string[] = [];
  for await (const { name, findings: found } of examine(env)) {
    lines.push(...found.map(({ level, text }) => `${name}: ${level}: ${text}`));
  }
  return lines;
}

/** Those of one level. */
export function of(level: Level, lines: readonly string[]): string[] {
  return lines.filter((line) => line.split(': ')[1] === level);
}

/** The PostgreSQL of a test run keeps nothing over a crash of the machine, and the doctor says so. */
export const ofTestServer = /^PostgreSQL: problem: (fsync|full_page_writes) is off/;

/** The problems that a test has made. */
export function problems(lines: readonly string[]): string[] {
  return of('problem', lines).filter((line) => !ofTestServer.test(line));
}
