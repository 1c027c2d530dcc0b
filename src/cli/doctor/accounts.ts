import { printable } from '../../acme/text.ts';
import type { Facts } from './facts.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

type AccountFacts = Facts['accounts'][number];

/** Accounts that are not registered, or closed and needed. */
export const accountsCheck: Check = {
  name: 'Accounts',
  run({ facts }) {
    if (facts === undefined) return Promise.resolve([]);
    const wanted = facts.accounts.filter((account) => !isClosed(account) || account.is_needed);
    const found = wanted.flatMap(accountFindings);
    const closed = facts.accounts.length - wanted.length;
    if (wanted.length === 0) {
      found.push(
        warning('There is no account: csrs wait until one is inserted into acme.account.'),
      );
    } else if (found.length === 0) {
      const rest = closed === 0 ? '' : ` Closed, and used by nothing: ${closed}.`;
      found.push(
        ok(
          `${wanted.length === 1 ? 'The account is' : `All ${wanted.length} accounts are`} registered.${rest}`,
        ),
      );
    }
    if (facts.cooldowns > 0) {
      found.push(
        warning(
          `Servers limit ${facts.cooldowns} ${facts.cooldowns === 1 ? 'name, set of names or domain' : 'names, sets of names or domains'} at the moment. Until when, and why: select scope, value, until, reason from acme.cooldown;`,
        ),
      );
    }
    return Promise.resolve(found);
  },
};

/** Whether it is no more, at the server too. */
export function isClosed({ state }: AccountFacts): boolean {
  return state === 'deactivated' || state === 'revoked';
}

/** For what workers go on with by themselves. */
const UNDER_WAY = ['waiting_for_orders', 'waiting_for_standby', 'key_change_unconfirmed'];

function accountFindings({ name, state, reason, reason_code: code }: AccountFacts): Finding[] {
  const why = reason === null ? '' : printable(reason, 1000).replace(/\.$/, '');
  switch (state) {
    case 'valid':
      return [];
    case 'new':
    case 'registering':
      return code === null
        ? [
            warning(
              `Account ${name} is ${state}: ${why === '' ? 'no worker has registered it yet' : why}. A worker registers it; see Workers.`,
            ),
          ]
        : [problem(`Account ${name} is ${state}: ${why}.`)];
    case 'rolling_over':
    case 'deactivating': {
      if (code === null) {
        return [warning(`Account ${name} is ${state}: a worker does it; see Workers.`)];
      }
      const level = UNDER_WAY.includes(code) ? warning : problem;
      return [level(`Account ${name} is ${state}: ${why}.`)];
    }
    case 'paused':
      return [
        warning(
          `Account ${name} is paused: ${why}. To go on: select acme.resume('account', '${name}');`,
        ),
      ];
    case 'limited':
      return [
        warning(
          `Account ${name}: ${why}. To try at once: select acme.resume('account', '${name}');`,
        ),
      ];
    case 'needs_person':
      return [problem(`Account ${name} waits for a person: ${why}.`)];
    default:
      return [
        problem(
          `Account ${name} is ${state}, and csrs, a domain or those that name no account need it. Insert another account at its server; then: select acme.replace_account('${name}', 'NEW');`,
        ),
      ];
  }
}
