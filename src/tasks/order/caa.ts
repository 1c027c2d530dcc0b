import { type Account, caaRecord, type Call, type ProblemDocument } from '../../acme/index.ts';
import type { Failure, OrderClaim } from '../../db/steps/steps.ts';
import { remote } from '../remote.ts';
import { sentence } from '../sentence.ts';

type Refusal = Pick<ProblemDocument, 'type' | 'detail' | 'subproblems' | 'document'>;

/** Whether CAA records do not let this server issue (RFC 8659 §3), which it may find at finalize, too. */
export function isCaa({ type, subproblems }: Refusal): boolean {
  return type === 'caa' || subproblems.some((each) => each.type === 'caa');
}

/** The DNS of a name is its owner's to change: as a failed validation, with the record that would allow it. */
export async function caaFailure(
  refusal: Refusal,
  claim: OrderClaim,
  { server }: Account,
  call: Call,
): Promise<Failure> {
  const { meta } = await remote('account.directory', () => server.directory(call));
  const refused = refusal.subproblems.flatMap(({ type, identifier }) =>
    type === 'caa' && identifier !== undefined ? [identifier.value] : [],
  );
  const names = refused.length > 0 ? refused : claim.identifiers;
  const shown = names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '');
  const identifier = names.find((name) =>
    claim.identifiers.some((own) => bare(own) === bare(name)),
  );
  return {
    class: 'validation',
    code: 'caa_forbids',
    text: `${sentence(`The server may not issue for ${shown}: ${refusal.type}: ${refusal.detail}`, 1000)} A CAA record of the name, or of a domain above it, names other CAs only. ${cure(meta.caaIdentities ?? [])}`,
    problem: refusal.document,
    ...(identifier === undefined ? {} : { identifier: bare(identifier) }),
  };
}

function cure(identities: readonly string[]): string {
  const issuer = identities.find((name) => /^[A-Za-z0-9]+([.-][A-Za-z0-9]+)*$/.test(name));
  return issuer === undefined
    ? 'Add one that names this CA; its documentation says by which name.'
    : `Add one that names this CA: ${caaRecord({ issuer })}`;
}

function bare(name: string): string {
  return name.replace(/^\*\./, '');
}
