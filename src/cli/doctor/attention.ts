import { printable } from '../../acme/text.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

/** What a person should act on, as acme.attention has it. */
export const attentionCheck: Check = {
  name: 'Attention',
  run({ facts }) {
    if (facts === undefined) return Promise.resolve([]);
    const { attention } = facts;
    const found = attention.map((row): Finding => {
      const name = row.names?.[0];
      const subject =
        row.csr_id === null
          ? ''
          : `csr ${row.csr_id}${name === undefined ? '' : ` (${printable(name, 60)})`}: `;
      const text = `${subject}${printable(row.sentence, 1000)} ${row.what_to_do}`;
      return row.severity === 'critical' ? problem(text) : warning(text);
    });
    const more = (attention[0]?.total ?? 0) - attention.length;
    if (more > 0) found.push(warning(`${more} more: select * from acme.attention;`));
    return Promise.resolve(found.length > 0 ? found : [ok('Nothing needs it.')]);
  },
};
