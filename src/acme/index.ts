/**
 * The ACME protocol (RFC 8555), from the client's side and step by step: a function that takes an account or
 * a server is one request, but `listOrders`, which follows the pages. Nothing sleeps, and nothing is retried but a
 * refused nonce. It knows no database and no files.
 *
 * A certificate takes a {@link Server}, a key of {@link generateAccountKey}, {@link newAccount}, and then
 * {@link newOrder}; for each of its authorizations {@link getAuthorization}, something published, and
 * {@link answerChallenge}; {@link getOrder} until it is ready, {@link finalizeOrder} with a CSR, getOrder until it
 * is valid, and {@link downloadCertificate}. What a CA refuses is thrown as {@link AcmeProblem}, what goes wrong
 * on the way as {@link AcmeTrouble}. Programs to start from are in the folder `examples`.
 *
 * @packageDocumentation
 */
export {
  type Account,
  type AccountRequest,
  type AccountResource,
  deactivateAccount,
  getAccount,
  newAccount,
  updateAccount,
} from './account.ts';
export { listOrders } from './account-orders.ts';
export type { Answer } from './answer.ts';
export {
  type Authorization,
  type AuthorizationStatus,
  deactivateAuthorization,
  getAuthorization,
  newAuthorization,
} from './authorization.ts';
export { caaRecord, type CaaAllowance } from './caa.ts';
export { downloadCertificate } from './certificate.ts';
export { answerChallenge, type Challenge, type ChallengeStatus } from './challenge.ts';
export {
  dns01Name,
  dns01Value,
  dnsAccount01Name,
  http01Path,
  tlsAlpn01,
  type TlsAlpn01Response,
} from './challenge-response.ts';
export { contactProblem } from './contact.ts';
export type { Directory, DirectoryMeta } from './directory.ts';
export { type ExternalAccount, externalAccountKey } from './external-account.ts';
export type { Identifier } from './guards.ts';
export type { Call } from './http.ts';
export { canonicalIp, reverseName } from './ip.ts';
export {
  type AccountKey,
  generateAccountKey,
  importAccountKey,
  type KeyAlgorithm,
  keyAuthorization,
} from './key.ts';
export { changeKey } from './key-change.ts';
export {
  finalizeOrder,
  getNewOrder,
  getOrder,
  newOrder,
  type Order,
  type OrderRequest,
  type OrderStatus,
} from './order.ts';
export {
  AcmeError,
  AcmeProblem,
  AcmeTrouble,
  type ProblemDocument,
  type Subproblem,
  type TroubleCode,
} from './problem.ts';
export { certificateId, getRenewalInfo, type RenewalInfo } from './renewal-info.ts';
export { revokeCertificate } from './revocation.ts';
export { Server, type ServerOptions } from './server.ts';
export { type JsonObject, jsonbSafe, printable } from './text.ts';
