import { documentTest } from './helpers/document-test.ts';

documentTest('docs/sql.md', {
  document: 'README.md',
  upTo: "In your application's own transaction",
});
