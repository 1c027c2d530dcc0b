import { printable } from '../../acme/text.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

/** Accounts that are not registered, and rows that do not move or wait for a person. */
export const accountsCheck: Check = {
  name: 'Accounts and csrs',
  run({ facts }) {
    if (facts === undefined) return Promise.resolve([]);
    const found: Finding[] = facts.accounts.flatMap(({ name, state, reason, reason_code }) => {
      if (state === 'valid') return [];
      const why = printable(reason ?? 'no worker has registered it yet', 300).replace(/\.$/, '');
      if (state === 'new' || state === 'registering') {
        return reason_code === null
          ? [warning(`Account ${name} is ${state}: ${why}. A worker registers it; see Workers.`)]
          : [problem(`Account ${name} is ${state}: ${why}.`)];
      }
      if (state === 'paused') {
        return [
          warning(
            `Account ${name} is paused: ${why}. To go on: select acme.resume('account', '${name}');`,
          ),
        ];
      }
      return [
        problem(`Account ${name} is ${state}: ${why}. Insert another account at its server.`),
      ];
    });
    if (facts.accounts.length === 0) {
      found.push(
        warning('There is no account: csrs wait until one is inserted into acme.account.'),
      );
    } else if (found.length === 0) {
      found.push(ok(`All ${facts.accounts.length} accounts are registered.`));
    }
    if (facts.stuck !== null && facts.stuck > 0) {
      found.push(problem(`${facts.stuck} rows are stuck. Look at them: select * from acme.stuck;`));
    }
    const persons = facts.states['needs_person'] ?? 0;
    if (persons > 0) {
      found.push(
        warning(
          `${persons} csrs wait for a person. What each needs: select id, reason from acme.csr_status where state = 'needs_person';`,
        ),
      );
    }
    return Promise.resolve(found);
  },
};
