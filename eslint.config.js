import simpleImportSort from 'eslint-plugin-simple-import-sort';
import tseslint from 'typescript-eslint';

/**
 * Dependencies point down only: tasks over {acme, solver, db} over x509. What a layer may not
 * import is named here, so that a wrong arrow is a lint error and not a matter of taste.
 */
const layer = (folder, forbidden) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          ...forbidden.map((other) => ({
            regex: `^\\.\\./(.*/)?${other}(/|\\.ts$)`,
            message: `src/${folder} does not know ${other} (see docs/design.md, layers).`,
          })),
        ],
      },
    ],
  },
});

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
  layer('acme', ['db', 'solver', 'tasks', 'quickstart', 'cli', 'config', 'log', 'worker']),
  layer('x509', ['acme', 'db', 'solver', 'tasks', 'quickstart', 'cli', 'config', 'log', 'worker']),
  layer('account-file', ['db', 'solver', 'tasks', 'quickstart', 'cli', 'config', 'log', 'worker']),
  layer('certificate-files', [
    'acme',
    'db',
    'solver',
    'tasks',
    'quickstart',
    'cli',
    'config',
    'worker',
  ]),
  layer('db', ['acme', 'solver', 'tasks', 'quickstart', 'cli', 'worker']),
  layer('solver', ['acme', 'tasks', 'quickstart', 'cli', 'worker']),
  layer('tasks', ['quickstart', 'cli', 'worker']),
  { files: ['examples/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    files: ['**/*.js', '**/*.mjs'],
    ...tseslint.configs.disableTypeChecked,
  },
);
