import { expect, onTestFinished, test } from 'vitest';
import { type Block, readDocument } from './document.ts';
import { Session } from './session.ts';

/** What a reader has followed before: a document, up to one of its headings. */
export interface Before {
  document: string;
  upTo: string;
}

/**
 * One test for a document: every sql and sh block is run in order by a reader of its own, who has followed
 * what is `before`. The list of what was skipped, and why, is printed.
 */
export function documentTest(name: string, before?: Before): void {
  test(`every session of ${name} runs and prints what it shows`, async () => {
    const session = await Session.begin();
    // Also after a time-out, which leaves the code below waiting.
    onTestFinished(() => session.end());
    if (before !== undefined) await followAll(session, before.document, before.upTo);
    const skipped = await followAll(session, name);
    process.stdout.write(`Not run in ${name}:\n${skipped.join('\n') || '  nothing'}\n`);
  }, 300_000);
}

async function followAll(session: Session, name: string, upTo?: string): Promise<string[]> {
  const all = readDocument(new URL(`../../../${name}`, import.meta.url));
  const end = all.findIndex((item) => item.kind === 'heading' && item.title === upTo);
  if (upTo !== undefined && end < 0) throw new Error(`${name} has no heading "${upTo}".`);
  const items = upTo === undefined ? all : all.slice(0, end);
  const skipped: string[] = [];
  let ran = 0;
  for (const item of items) {
    try {
      await session.follow(item);
    } catch (error) {
      if (item.kind === 'heading') throw error;
      const [line, text] =
        item.kind === 'block' ? [item.block.line, item.block.text] : [item.line, item.order];
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${name}:${String(line)}\n\n${text}\n\n${message}`, { cause: error });
    }
    if (item.kind !== 'block') continue;
    if (item.block.skip !== undefined) skipped.push(skippedLine(item.block));
    else if (['sql', 'sh'].includes(item.block.language)) ran += 1;
  }
  expect(ran, `blocks run in ${name}`).toBeGreaterThan(0);
  return skipped;
}

function skippedLine({ line, skip, text }: Block): string {
  return `  line ${String(line)}, ${(text.split('\n')[0] ?? '').slice(0, 50)}: ${String(skip)}`;
}
