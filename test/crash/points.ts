import { readdir, readFile } from 'node:fs/promises';
import ts from 'typescript';
import { sqlFiles } from '../helpers/sql-files.ts';

const SRC = new URL('../../src/', import.meta.url);

/** What the source says about its crash points. */
export interface CrashPoints {
  /** Every point, in the order of the source. */
  names: string[];
  /** Requests and commits that have none: where they stand. */
  missing: string[];
}

/**
 * Reads the crash points out of the source: each request of a step goes through `remote(name, …)` and
 * each commit through `commit(name, …)` or `claimed(name, …)`; whatever speaks to a server or changes
 * the database beside them is missing one.
 */
export async function crashPoints(): Promise<CrashPoints> {
  const requests = await requestFunctions();
  const reads = await readOnlyFunctions();
  const found: CrashPoints = { names: [], missing: [] };
  for (const file of await typescriptIn('tasks/')) {
    visit(file, (node) => {
      if (!ts.isCallExpression(node)) return;
      const callee = calleeOf(node);
      if (callee === 'remote') add(found, node, ['sending', 'sent']);
      if (requests.has(callee) && !isOnOwnMap(node) && enclosing(node, ['remote']) === undefined) {
        found.missing.push(`${file.fileName}: ${node.getText(file)}`);
      }
    });
  }
  const [steps] = (await typescriptIn('db/steps/')).filter(
    ({ fileName }) => fileName === 'db/steps/steps.ts',
  );
  if (steps === undefined) throw new Error('src/db/steps/steps.ts is not where it was.');
  visit(steps, (node) => {
    if (ts.isCallExpression(node) && ['commit', 'claimed'].includes(calleeOf(node))) {
      add(found, node, ['committing', 'committed']);
    }
    if (!ts.isTaggedTemplateExpression(node)) return;
    const called = /acme_private\.(\w+)\(/.exec(node.getText(steps))?.[1] ?? '';
    if (!reads.has(called) && enclosing(node, ['commit', 'claimed']) === undefined) {
      found.missing.push(`${steps.fileName}: ${called}`);
    }
  });
  return found;
}

function add({ names }: CrashPoints, call: ts.CallExpression, ends: string[]): void {
  const [first] = call.arguments;
  if (first === undefined) return;
  // A choice between two names has both; a name that is passed on was read where it is written.
  visit(first, (node) => {
    if (!ts.isStringLiteral(node)) return;
    for (const end of ends) {
      const name = `${node.text}.${end}`;
      if (!names.includes(name)) names.push(name);
    }
  });
}

/** The functions of src/acme that send something: those that take a Call. */
async function requestFunctions(): Promise<Set<string>> {
  const names = new Set<string>();
  for (const file of await typescriptIn('acme/')) {
    visit(file, (node) => {
      const isCandidate = ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node);
      if (!isCandidate || node.name === undefined || !isPublic(node)) return;
      const takesCall = node.parameters.some((one) =>
        /\bCall\b/.test(one.type?.getText(file) ?? ''),
      );
      if (takesCall) names.add(node.name.getText(file));
    });
  }
  return names;
}

function isPublic(node: ts.FunctionDeclaration | ts.MethodDeclaration): boolean {
  if (ts.isMethodDeclaration(node)) {
    const isInternal = ts.getJSDocTags(node).some(({ tagName }) => tagName.text === 'internal');
    return !ts.isPrivateIdentifier(node.name) && !isInternal;
  }
  return node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;
}

/** The functions of acme_private that change nothing: stable ones. */
async function readOnlyFunctions(): Promise<Set<string>> {
  const names = new Set<string>();
  for (const { text } of await sqlFiles('sql/api/')) {
    const functions =
      /create or replace function acme_private\.(\w+)\([^$]*?\) returns [^$]*?\blanguage \w+ (\w+)/g;
    for (const [, called, volatility] of text.matchAll(functions)) {
      if (volatility !== 'volatile' && called !== undefined) names.add(called);
    }
  }
  return names;
}

async function typescriptIn(folder: string): Promise<ts.SourceFile[]> {
  const names = (await readdir(new URL(folder, SRC), { recursive: true })).filter((name) =>
    name.endsWith('.ts'),
  );
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(new URL(`${folder}${name}`, SRC), 'utf8');
      return ts.createSourceFile(`${folder}${name}`, text, ts.ScriptTarget.Latest, true);
    }),
  );
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node);
  node.forEachChild((child) => visit(child, see));
}

function calleeOf({ expression }: ts.CallExpression): string {
  return ts.isPropertyAccessExpression(expression)
    ? expression.name.text
    : ts.isIdentifier(expression)
      ? expression.text
      : '';
}

/** `this.#known.get(id)`: a Map, and not the server, whose `get` sends something. */
function isOnOwnMap({ expression }: ts.CallExpression): boolean {
  return (
    ts.isPropertyAccessExpression(expression) &&
    ts.isPropertyAccessExpression(expression.expression) &&
    ts.isPrivateIdentifier(expression.expression.name)
  );
}

function enclosing(node: ts.Node, callees: string[]): ts.Node | undefined {
  let up: ts.Node | undefined = node.parent;
  while (up !== undefined) {
    if (ts.isCallExpression(up) && callees.includes(calleeOf(up))) return up;
    up = up.parent;
  }
  return undefined;
}
