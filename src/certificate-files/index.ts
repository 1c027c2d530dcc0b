/** What other ACME clients keep of certificates. Knows no database and sends nothing. */
export { type Lineage, readLineages } from './lineages.ts';
