import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import ts from 'typescript';
import tseslint from 'typescript-eslint';
import { expect, test } from 'vitest';

const ROOT = new URL('../', import.meta.url);

/** One import of a file; a type is gone when the program runs, and `import()` runs when it is called. */
interface Import {
  to: string;
  kind: 'value' | 'type' | 'call';
}

/** The imports of each file of src, by path. */
const imports = new Map(
  readdirSync(new URL('src/', ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `src/${name.replaceAll('\\', '/')}`)
    .sort()
    .map((file) => [file, importsOf(file)]),
);

function importsOf(file: string): Import[] {
  const text = readFileSync(new URL(file, ROOT), 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, kind: Import['kind']) => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    if (!specifier.text.startsWith('.')) return;
    found.push({ to: posix.join(posix.dirname(file), specifier.text), kind });
  };
  const visit = (node: ts.Node) => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, isOfTypes(node.importClause) ? 'type' : 'value');
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'value');
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], 'call');
    }
    node.forEachChild(visit);
  };
  visit(source);
  return found;
}

function isOfTypes(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const names = clause.namedBindings;
  return (
    clause.name === undefined &&
    names !== undefined &&
    ts.isNamedImports(names) &&
    names.elements.every(({ isTypeOnly }) => isTypeOnly)
  );
}

/** The files that are loaded with this one, and it; through `import()` only where `followed` says so. */
function loadedWith(file: string, followed: boolean, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const { to, kind } of imports.get(file) ?? []) {
    if (kind === 'value' || (kind === 'call' && followed)) loadedWith(to, followed, found);
  }
  return found;
}

/** The way from a file back to itself, if there is one. */
function circleFrom(start: string): string[] | undefined {
  const cameFrom = new Map<string, string>();
  const next = [start];
  for (let file = next.shift(); file !== undefined; file = next.shift()) {
    for (const { to } of imports.get(file) ?? []) {
      if (to === start) {
        const way = [start];
        for (let at = file; at !== start; at = cameFrom.get(at) ?? start) way.unshift(at);
        return [start, ...way];
      }
      if (cameFrom.has(to)) continue;
      cameFrom.set(to, file);
      next.push(to);
    }
  }
  return undefined;
}

test('every import of src names a file of src', () => {
  expect(imports.size).toBeGreaterThan(200);
  const all = [...imports].flatMap(([file, found]) => found.map(({ to }) => `${file}: ${to}`));
  expect(all.filter((each) => !imports.has(each.split(': ')[1] ?? ''))).toEqual([]);
});

test('no files import each other in a circle, types included', () => {
  const circles = [...imports.keys()].map(circleFrom).filter((way) => way !== undefined);
  expect(circles.map((way) => way.join(' → '))).toEqual([]);
});

test('a worker loads nothing of the quickstart, of local servers, or of what only commands need', () => {
  const loaded = new Set([
    // The command line up to the command, what the command then loads, and a worker in another's process.
    ...loadedWith('src/cli.ts', false),
    ...loadedWith('src/cli/worker.ts', true),
    ...loadedWith('src/index.ts', true),
  ]);
  expect(loaded).toContain('src/tasks/run.ts');
  expect(loaded).toContain('src/cli/worker.ts');
  const needless = ['src/local/', 'src/quickstart/', 'src/db/owner/', 'src/account-file/'];
  expect([...loaded].filter((file) => needless.some((folder) => file.startsWith(folder)))).toEqual(
    [],
  );
});

test('lint refuses an import that is not in the list of layers, and a folder that is not', async () => {
  const eslint = new ESLint({
    cwd: fileURLToPath(ROOT),
    // The files are not there, so that nothing is known of their types.
    overrideConfig: [tseslint.configs.disableTypeChecked],
  });
  const refused = async (filePath: string, text: string) => {
    const [result] = await eslint.lintText(text, {
      filePath: fileURLToPath(new URL(filePath, ROOT)),
    });
    return result?.messages.map(({ ruleId, message }) => `${ruleId}: ${message}`);
  };
  const notAllowed = (from: string, to: string) => [
    `pgacme/layers: ${from} may not import ${to} (eslint.config.js, layers).`,
  ];
  expect(await refused('src/acme/some.ts', "import '../db/steps/connect.ts';\n")).toEqual(
    notAllowed('src/acme', 'src/db/steps'),
  );
  expect(await refused('src/tasks/order/some.ts', "await import('../../local/run.ts');\n")).toEqual(
    notAllowed('src/tasks', 'src/local'),
  );
  expect(await refused('src/db/steps/some.ts', "export * from '../owner/adopt.ts';\n")).toEqual(
    notAllowed('src/db/steps', 'src/db/owner'),
  );
  expect(await refused('src/worker.ts', "export { x } from '../test/x.ts';\n")).toEqual(
    notAllowed('src/worker.ts', 'what is outside src'),
  );
  expect(await refused('src/tasks/record/some.ts', "import '../run.ts';\n")).toEqual([]);
  expect(await refused('src/db/other/some.ts', 'export {};\n')).toEqual([
    'pgacme/layers: src/db/other is in no layer; list it in eslint.config.js.',
  ]);
  expect(await refused('src/metrics/some.ts', 'export {};\n')).toEqual([
    'pgacme/layers: src/metrics is in no layer; list it in eslint.config.js.',
  ]);
});
