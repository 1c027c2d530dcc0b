/**
 * The states that tests need, as if workers had brought the rows there. Only this folder writes the tables
 * of acme_private: a table or a column that gets another name is renamed here.
 */
export * from './account.ts';
export * from './authorization.ts';
export * from './csr.ts';
export * from './installation.ts';
export type { Column, Kind } from './kinds.ts';
export * from './lease.ts';
export * from './name.ts';
export * from './order.ts';
export * from './rows.ts';
export * from './worker.ts';
