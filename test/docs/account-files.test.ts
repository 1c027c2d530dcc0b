import { documentTest } from './helpers/document-test.ts';

documentTest('docs/account-files.md', {
  document: 'README.md',
  upTo: "In your application's own transaction",
});
