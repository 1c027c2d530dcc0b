import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** Something that a module exports. */
export interface Exported {
  name: string;
  kind: 'function' | 'class' | 'type';
  /** The text of its JSDoc comment, and of its declaration. */
  comment: string;
  declaration: string;
}

/** What an index file exports, in its order: it only passes on what other files declare. */
export async function exportsOf(index: string): Promise<Exported[]> {
  const found: Exported[] = [];
  for (const statement of (await parse(index)).statements) {
    if (!ts.isExportDeclaration(statement) || !statement.exportClause) continue;
    const from = statement.moduleSpecifier;
    if (!from || !ts.isStringLiteral(from) || !ts.isNamedExports(statement.exportClause)) continue;
    const file = await parse(join(dirname(index), from.text));
    for (const { name } of statement.exportClause.elements) found.push(declared(file, name.text));
  }
  return found;
}

/** The names that a file imports from any of the modules whose specifiers end so. */
export async function importsOf(path: string, modules: readonly string[]): Promise<string[]> {
  return (await parse(path)).statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) {
      return [];
    }
    const { text } = statement.moduleSpecifier;
    const bindings = statement.importClause?.namedBindings;
    if (!bindings || !ts.isNamedImports(bindings)) return [];
    if (!modules.some((module) => text.endsWith(module))) return [];
    return bindings.elements.map(({ name, propertyName }) => (propertyName ?? name).text);
  });
}

function declared(file: ts.SourceFile, name: string): Exported {
  for (const statement of file.statements) {
    const kind = ts.isFunctionDeclaration(statement)
      ? 'function'
      : ts.isClassDeclaration(statement)
        ? 'class'
        : 'type';
    if (
      (ts.isFunctionDeclaration(statement) ||
        ts.isClassDeclaration(statement) ||
        ts.isInterfaceDeclaration(statement) ||
        ts.isTypeAliasDeclaration(statement)) &&
      statement.name?.text === name
    ) {
      const comments = ts.getJSDocCommentsAndTags(statement);
      const comment = comments
        .map((each) => ts.getTextOfJSDocComment(each.comment) ?? '')
        .join(' ');
      const declaration =
        ts.isFunctionDeclaration(statement) && statement.body
          ? file.text.slice(statement.getStart(file), statement.body.getStart(file))
          : statement.getText(file);
      return { name, kind, comment, declaration };
    }
  }
  throw new Error(`${file.fileName} declares no ${name}.`);
}

async function parse(path: string): Promise<ts.SourceFile> {
  const text = await readFile(path, 'utf8');
  return ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
}
