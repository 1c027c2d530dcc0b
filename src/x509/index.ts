/**
 * CSRs, certificates and the names in them: judging what applications send, checking what servers send back, and
 * making both for tests and the quickstart. Knows no database, environment or logger.
 */
export { chainTop, leadsTo } from './chain-top.ts';
export type { ChainTop } from './chain-top.ts';
export { csrDer } from './csr.ts';
export { judgeDnsName, registeredDomain } from './dns-name.ts';
export type { JudgedName } from './dns-name.ts';
export { X509Error } from './errors.ts';
export { defaultKeyTypes, judgeCsr, refusedFeatures } from './judge-csr.ts';
export type { Csr, CsrRules, CsrVerdict, KeyType } from './judge-csr.ts';
export { certificateDer, readLeaf } from './leaf.ts';
export type { Leaf } from './leaf.ts';
export { makeCsr, makeTlsCertificate } from './make.ts';
export type { CsrOptions, MakeAlgorithm, TlsOptions } from './make.ts';
export { spkiSha256OfJwk } from './public-key.ts';
export type { PublicJwk } from './public-key.ts';
export type { Reason, ReasonCode } from './reason.ts';
export { readRevocationReason, reasonCode, revocationReasons } from './revocation-reason.ts';
export type { RevocationReason } from './revocation-reason.ts';
export { verifyIssued } from './verify-issued.ts';
export type { IssuedCertificate, IssuedInput, IssuedVerdict } from './verify-issued.ts';
