import { expect, test } from 'vitest';
import { fileText, firstColumn, folderText, unique, words } from './helpers/tables.ts';

const sql = folderText('sql', '.sql');
const transitions = words(sql, /insert into acme_private\.transition ([^;]*);/g).join('\n');
const states = words(transitions, /\('(?:csr|account)', '\w+', '(\w+)'\)/g);

test('docs/sql.md lists every reason code that can be met, and no other', () => {
  expect(firstColumn('docs/sql.md', 'reason_code')).toEqual(reasonCodes());
});

test('docs/sql.md lists every state of csr_status, and no other', () => {
  const view = between(
    fileText('sql/api/csr/views.sql'),
    'create or replace view acme.csr_status',
    'as state,',
  );
  const derived = words(view, /then '(\w+)'/g);
  const stored = words(
    sql
      .slice(sql.lastIndexOf('constraint csr_state_is_known'))
      .split(';')[0]
      ?.split('is_live')[0] ?? '',
    /'(\w+)'/g,
  );
  expect(firstColumn('docs/sql.md', 'state')).toEqual(unique([...stored, ...derived]));
});

test('docs/sql.md lists every event, and no other', () => {
  const noted = [
    ...words(sql, /acme_private\.note(?:_\w+)?\('(\w+)'/g),
    ...words(sql, /acme_private\.note(?:_\w+)?\(case [^,]*?then '(\w+)'/g),
    ...words(sql, /acme_private\.note(?:_\w+)?\(case [^,]*?else '(\w+)' end/g),
    ...words(sql, /insert into acme_private\.event \(event,[^)]*\)\s*select '(\w+)'/g),
    // Named after the state that the csr comes to.
    ...words(sql, /if v_state in \(([^)]*)\) then\s*perform acme_private\.note\(v_state/g).flatMap(
      (list) => words(list, /'(\w+)'/g),
    ),
  ];
  expect(firstColumn('docs/sql.md', 'event')).toEqual(unique(noted));
});

/** As the sources have them: SQL's own, the workers' failures, and what a CSR is rejected for. */
function reasonCodes(): string[] {
  const putOffOrEnded = words(
    sql,
    /(?:perform|return) acme_private\.(?:put_off|end_orders?|end_order_anyhow)\(([^;]*);/g,
  );
  // The first text of an end_order is the class of the failure.
  const ofCalls = putOffOrEnded.flatMap((call) =>
    words(call.replace(/, o, '\w+', /, ', o, '), /, '([a-z]+_[a-z_]+|limited)', /g),
  );
  const view = between(fileText('sql/api/csr/views.sql'), "then 'database_copied'", 'end as code');
  const ofView = words(view, /'([a-z_]+)'/g).filter((word) => !states.includes(word));
  const ofAccounts = words(transitions, /\('account', 'registering', '(\w+)'\)/g)
    .filter((state) => !['new', 'valid', 'deactivating'].includes(state))
    .map((state) => `account_${state}`);
  expect(sql).toContain("'account_' || p_status");
  return unique([
    ...words(sql, /reason_code :?= '(\w+)'/g),
    ...words(sql, /reason_code = case when [^,]*? then '(\w+)'/g),
    ...words(sql, /'(\w+)' as reason_code/g),
    ...words(sql, /'code', '(\w+)'/g),
    ...words(sql, /\b(?:v_)?code := '(\w+)'/g),
    ...words(sql, /unwanted_for = '(\w+)'/g),
    ...words(sql, /then '(account_paused)' else s\.reason_code end/g),
    ...ofCalls,
    ...ofView,
    ...ofAccounts,
    ...words(folderText('src/tasks', '.ts'), /\bcode: (?:[^',]*\? )?'(\w+)'/g),
    ...words(folderText('src/tasks', '.ts'), /\bcode: [^',\n]*'\w+' \? '(\w+)' : '\w+'/g),
    ...words(folderText('src/tasks', '.ts'), /\bcode: [^',\n]*'\w+' \? '\w+' : '(\w+)'/g),
    ...words(between(fileText('src/x509/reason.ts'), 'type ReasonCode', ';'), /'(\w+)'/g),
  ]);
}

function between(text: string, start: string, end: string): string {
  const from = text.indexOf(start);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) {
    throw new Error(`There is no "${start}" … "${end}" in the sources any more.`);
  }
  return text.slice(from, to);
}
