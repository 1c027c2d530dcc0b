import { documentTest } from './helpers/document-test.ts';

documentTest('README.md');
