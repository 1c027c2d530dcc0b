import { expect, test } from 'vitest';
import { documentTest } from './helpers/document-test.ts';
import { fileText } from './helpers/tables.ts';

documentTest('README.md');

test('the section on monitoring of README.md leads to its document', () => {
  const [, section = ''] = fileText('README.md').split('\n### Monitoring\n');
  expect(section.split('\n### ')[0]).toContain('(docs/monitoring.md)');
});
