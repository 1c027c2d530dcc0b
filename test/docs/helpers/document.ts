import { readFileSync } from 'node:fs';

/**
 * What the comments above a block can say. The documents stay plain Markdown; everything that only the
 * test needs stands in HTML comments right above a fenced block:
 *
 *   <!-- run: as webapp -->               psql as this login, here and further down (superuser at first)
 *   <!-- run: fails -->                   the block must end in an error, which is part of its output
 *   <!-- run: until shown -->             run again and again until the output shown comes
 *   <!-- run: in the background until "worker started" -->   left running, once it printed this
 *   <!-- run: to the end, … -->           with the one before: `stop` below does not end it
 *   <!-- skip: the reason -->             not run; the test prints block and reason
 *   <!-- file: responder.mjs -->          not run, but written down for the blocks that follow
 *
 * and on their own:
 *
 *   <!-- serve: www -->                   answer the CA's validation from this folder until `stop`
 *   <!-- stop: background -->             end with SIGTERM what was left running; it must exit with 0
 *   <!-- stand-in: letsencrypt -->        this server row gets the test CA's URL before it is used
 */
export type Item =
  | { kind: 'block'; block: Block }
  | { kind: 'order'; order: 'serve' | 'stop' | 'stand-in'; value: string; line: number }
  | { kind: 'heading'; title: string };

/** A fenced block, and what is to be done with it. */
export interface Block {
  language: string;
  text: string;
  /** Of its fence, from 1. */
  line: number;
  login: string | undefined;
  fails: boolean;
  untilShown: boolean;
  /** What it prints once it may be left running. */
  background: string | undefined;
  toTheEnd: boolean;
  skip: string | undefined;
  file: string | undefined;
  /** The text block that follows with nothing but blank lines between. */
  shown: string | undefined;
}

const FENCE = /^```(\w*)$/;
// Notes that are not for the test: where generated text begins and ends.
const OTHERS = /^<!-- (what follows is generated: |prettier-ignore-(start|end) )/;
const COMMENT = /^<!-- (run|skip|file|serve|stop|stand-in): (.+) -->$/;

/** Reads a document's blocks and orders, in its order. */
export function readDocument(url: URL): Item[] {
  const lines = readFileSync(url, 'utf8').split('\n');
  const items: Item[] = [];
  let notes: { what: string; value: string }[] = [];
  let last: Block | undefined;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const comment = COMMENT.exec(line);
    const fence = FENCE.exec(line);
    if (comment) {
      const [, what = '', value = ''] = comment;
      if (what === 'serve' || what === 'stop' || what === 'stand-in') {
        items.push({ kind: 'order', order: what, value, line: i + 1 });
      } else {
        notes.push({ what, value });
      }
      last = undefined;
    } else if (fence) {
      const end = lines.indexOf('```', i + 1);
      if (end < 0) throw new Error(`${url.pathname}:${String(i + 1)}: this block has no end.`);
      const text = lines.slice(i + 1, end).join('\n');
      if (fence[1] === 'text' && last !== undefined && notes.length === 0) {
        last.shown = text;
        last = undefined;
      } else {
        last = blockOf(fence[1] ?? '', text, i + 1, notes);
        items.push({ kind: 'block', block: last });
      }
      notes = [];
      i = end;
    } else if (line.trim() !== '') {
      const title = /^#+ (.+)$/.exec(line)?.[1];
      if (title !== undefined) items.push({ kind: 'heading', title });
      if (line.startsWith('<!--') && !OTHERS.test(line)) {
        throw new Error(`${url.pathname}:${String(i + 1)}: there is no note like ${line}`);
      }
      last = undefined;
    }
  }
  return items;
}

function blockOf(
  language: string,
  text: string,
  line: number,
  notes: readonly { what: string; value: string }[],
): Block {
  const block: Block = {
    language,
    text,
    line,
    login: undefined,
    fails: false,
    untilShown: false,
    background: undefined,
    toTheEnd: false,
    skip: undefined,
    file: undefined,
    shown: undefined,
  };
  for (const { what, value } of notes) {
    if (what === 'skip') block.skip = value;
    else if (what === 'file') block.file = value;
    else for (const word of value.split(', ')) readRun(block, word);
  }
  return block;
}

function readRun(block: Block, word: string): void {
  const login = /^as (\w+)$/.exec(word)?.[1];
  const background = /^in the background until "(.+)"$/.exec(word)?.[1];
  if (login !== undefined) block.login = login;
  else if (background !== undefined) block.background = background;
  else if (word === 'fails') block.fails = true;
  else if (word === 'until shown') block.untilShown = true;
  else if (word === 'to the end') block.toTheEnd = true;
  else throw new Error(`Line ${String(block.line)}: there is no way to run a block "${word}".`);
}
