/**
 * ACME accounts as files: our own sealed export, and what other clients keep. Knows no database and
 * sends nothing.
 */
export type { AccountFile } from './content.ts';
export { readForeignAccount } from './foreign.ts';
export type { ForeignAccount } from './reader.ts';
export { isAccountFile, openAccountFile, sealAccountFile } from './sealed.ts';
