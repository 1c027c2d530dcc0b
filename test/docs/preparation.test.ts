import { expect, test } from 'vitest';
import { preparation } from '../../src/db/migrate/roles.ts';
import { fileText } from './helpers/tables.ts';

test('docs/operations.md has the statements for a DBA as pgacme itself has them', () => {
  const statements = preparation({
    login: 'deploy',
    serverVersion: 150000,
    roles: [],
    missingMemberships: [
      { role: 'acme_worker', member: 'acme_owner' },
      { role: 'acme_app', member: 'acme_multi_tenant' },
      { role: 'acme_app', member: 'acme_admin' },
      { role: 'acme_multi_tenant', member: 'acme_admin' },
      { role: 'acme_owner', member: null },
      { role: 'acme_worker', member: null },
    ],
    missingSchemas: [
      { schema: 'acme', owner: 'acme_owner' },
      { schema: 'acme_private', owner: 'acme_owner' },
      { schema: 'acme_worker', owner: 'acme_owner' },
    ],
    isInstalled: false,
    isStatsGrantDue: false,
    mayAct: false,
    workerSchema: 'acme_worker',
  });
  const [, section = ''] = fileText('docs/operations.md').split(
    '\n## Where you may not create roles or schemas\n',
  );
  expect(/```sql\n([^`]*)```/.exec(section)?.[1]).toBe(`${statements.join('\n')}\n`);
});
