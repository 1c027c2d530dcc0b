import { printable } from '../acme/text.ts';
import type { LogEvent } from './event-log.ts';

/** An event of the audit trail in words. */
export function eventText({ event, certificateId, detail }: LogEvent): string {
  const text = (name: string) => {
    const value = detail[name];
    return typeof value === 'string' ? printable(value, 300) : '';
  };
  switch (event) {
    case 'account_key_made':
      return 'account key made, sealed and stored';
    case 'account_registered':
      return `account registered: ${text('url')}`;
    case 'account_lost':
      return 'Pebble does not know the account any more (it keeps nothing): registering it again';
    case 'accepted':
      return `CSR accepted for ${printable([detail['identifiers']].flat().join(', '), 300)}`;
    case 'rejected':
      return `CSR rejected: ${reasons(detail)}`;
    case 'renewal_due':
      return `renewal: ${text('reason')}`;
    case 'order_created':
      return `order made: ${text('url')}`;
    case 'challenge_published':
      return `${text('type')} answer published for ${text('identifier')}`;
    case 'authorization_valid':
      return `${text('identifier')} proved`;
    case 'order_finalized':
      return 'order finalized with the CSR';
    case 'issued':
      return `certificate ${certificateId} checked and stored`;
    default: {
      const name = event.replaceAll('_', ' ');
      return detail['reason'] === undefined ? name : `${name}: ${text('reason')}`;
    }
  }
}

function reasons(detail: LogEvent['detail']): string {
  const texts = [detail['reasons']]
    .flat()
    .map((reason: unknown) =>
      typeof reason === 'object' && reason !== null && 'text' in reason ? String(reason.text) : '',
    );
  return printable(texts.join(' '), 500);
}
