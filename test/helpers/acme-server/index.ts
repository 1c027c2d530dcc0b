export type { Fault, FaultHandle, Seen } from './faults.ts';
export type {
  AcmeServerOptions,
  CertificateFlaws,
  Validation,
  ValidationAttempt,
} from './options.ts';
export type { JsonObject, Problem } from './problem.ts';
export {
  AcmeServer,
  startAcmeServer,
  type AcmeServerStart,
  type TlsCertificate,
} from './server.ts';
export type { Account, Certificate, Resource } from './store.ts';
