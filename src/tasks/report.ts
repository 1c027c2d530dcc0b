import type { Logger } from 'pino';
import type { Claim, Failure, StepReport } from '../db/steps/steps.ts';

/**
 * Logs what became of steps, a line each, with the request, its ref and its names: a line is found by what its
 * owner knows. Info is what goes on by itself, an error what waits for a person.
 */
export function reportTo(log: Logger): StepReport {
  return {
    failed(claim, failure) {
      log[levelOf(failure)](
        {
          ...whatOf(claim, failure),
          step: claim.step,
          class: failure.class,
          code: failure.code,
          reason: failure.text,
        },
        failure.class === 'validation' ? 'validation failed' : 'step did not succeed',
      );
    },
    issued(claim, { serial, not_after: notAfter }) {
      log.info({ ...whatOf(claim), serial, not_after: notAfter }, 'certificate issued');
    },
  };
}

/** How a log line names what a claim is about. */
export function whatOf(claim: Claim, failure?: Failure): object {
  const row = { [claim.kind]: claim.id };
  switch (claim.kind) {
    case 'order':
      return { csr: claim.csr_id, ref: claim.ref, names: claim.identifiers, ...row };
    case 'authorization': {
      const name = failure?.identifier ?? claim.identifier;
      return { csr: claim.csr_id, ref: claim.ref, names: name === null ? [] : [name], ...row };
    }
    case 'certificate':
      return { csr: claim.csr_id, ...row };
    case 'account':
      return row;
  }
}

function levelOf({ class: what, code }: Failure): 'debug' | 'info' | 'error' {
  if (what === 'waiting') return 'debug';
  const needsPerson = ['person', 'permanent', 'account_held'].includes(what);
  return needsPerson || code === 'secret_key_wrong' ? 'error' : 'info';
}
