import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import simpleImportSort from 'eslint-plugin-simple-import-sort';
import tseslint from 'typescript-eslint';

/**
 * The layers: each folder of src, and each file beside the folders, with what it may import. A line names
 * only lines above it, so that dependencies point down (docs/design.md, layers).
 */
const layers = {
  'version.ts': [],
  'errors.ts': [],
  'log.ts': [],
  x509: [],
  acme: ['version.ts', 'x509'],
  solver: [],
  secrets: ['errors.ts', 'acme'],
  'config.ts': ['errors.ts', 'secrets'],
  'account-file': ['errors.ts', 'acme'],
  'certificate-files': ['errors.ts', 'x509'],
  'db/steps': ['errors.ts', 'x509'],
  'db/migrate': ['errors.ts', 'db/steps'],
  'db/owner': ['errors.ts', 'secrets', 'db/steps'],
  tasks: ['errors.ts', 'x509', 'acme', 'solver', 'secrets', 'db/steps'],
  worker: [
    'version.ts',
    'errors.ts',
    'solver',
    'secrets',
    'config.ts',
    'db/steps',
    'db/migrate',
    'tasks',
  ],
  'worker.ts': ['errors.ts', 'log.ts', 'solver', 'secrets', 'config.ts', 'db/steps', 'worker'],
  'index.ts': ['errors.ts', 'db/migrate', 'worker.ts'],
  local: ['x509'],
  quickstart: [
    'version.ts',
    'errors.ts',
    'log.ts',
    'x509',
    'acme',
    'db/steps',
    'db/migrate',
    'worker.ts',
    'local',
  ],
  cli: [
    'version.ts',
    'errors.ts',
    'log.ts',
    'x509',
    'acme',
    'secrets',
    'config.ts',
    'account-file',
    'certificate-files',
    'db/steps',
    'db/migrate',
    'db/owner',
    'tasks',
    'worker',
    'worker.ts',
    'local',
    'quickstart',
  ],
  'cli.ts': ['cli'],
};

const SRC = join(import.meta.dirname, 'src');

for (const [index, [layer, below]] of Object.entries(layers).entries()) {
  const above = Object.keys(layers).slice(index);
  const wrong = below.find((each) => above.includes(each) || !(each in layers));
  if (wrong !== undefined) throw new Error(`layers: ${wrong} is not above ${layer} in the list.`);
  if (!existsSync(join(SRC, layer))) throw new Error(`layers: there is no src/${layer}.`);
}

/** The layer of a file; undefined: it is not in src. One that is not listed is named all the same. */
function layerOf(file) {
  const path = relative(SRC, file).replaceAll('\\', '/');
  if (path.startsWith('..')) return undefined;
  const folders = path.includes('/') ? path.split('/').slice(0, -1) : [path];
  return folders[0] in layers ? folders[0] : folders.slice(0, 2).join('/');
}

/** Reports imports that the list of layers does not have, `import()` too, and files that are in no layer. */
const layerRule = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const layer = layerOf(context.filename);
    const below = layers[layer];
    if (below === undefined) {
      const message = `src/${layer} is in no layer; list it in eslint.config.js.`;
      return { Program: (node) => context.report({ node, message }) };
    }
    const check = (node) => {
      const specifier = node.source?.value;
      if (typeof specifier !== 'string' || !specifier.startsWith('.')) return;
      const other = layerOf(join(dirname(context.filename), specifier));
      if (other === layer || below.includes(other)) return;
      const message = `src/${layer} may not import ${other === undefined ? 'what is outside src' : `src/${other}`} (eslint.config.js, layers).`;
      context.report({ node, message });
    };
    return {
      ImportDeclaration: check,
      ImportExpression: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
    };
  },
};

export default tseslint.config(
  { ignores: ['dist/', 'dist-bench/', 'dist-examples/', 'node_modules/', '.pgacme/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  ...tseslint.configs.recommendedTypeChecked,
  {
    plugins: { 'simple-import-sort': simpleImportSort },
    languageOptions: {
      parserOptions: {
        projectService: {
          allowDefaultProject: ['*.js', '.ci/*.mjs', '.ci/parts/*.mjs', 'docker/*.mjs'],
        },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      curly: ['error', 'multi-line'],
      eqeqeq: 'error',
      'no-console': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      // Node's own, packages, then ours; one block.
      'simple-import-sort/imports': ['error', { groups: [['^node:', '^', '^\\.']] }],
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { pgacme: { rules: { layers: layerRule } } },
    rules: { 'pgacme/layers': 'error' },
  },
  { files: ['examples/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['**/*.js', '**/*.mjs'],
    ...tseslint.configs.disableTypeChecked,
  },
);
