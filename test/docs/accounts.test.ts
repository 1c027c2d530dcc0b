import { documentTest } from './helpers/document-test.ts';

documentTest('docs/accounts.md', {
  document: 'README.md',
  upTo: "In your application's own transaction",
});
