import { documentTest } from './helpers/document-test.ts';

documentTest('docs/concepts.md', {
  document: 'README.md',
  upTo: "In your application's own transaction",
});
