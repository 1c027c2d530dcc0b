/** The reasons that the owner of a certificate may give, with their numbers (RFC 5280 §5.3.1). */
export const revocationReasons = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;

/** Why a certificate is revoked. */
export type RevocationReason = keyof typeof revocationReasons;

/** The reason that a name, in any case, or a number stands for; undefined: none. */
export function readRevocationReason(text: string): RevocationReason | undefined {
  const names = Object.keys(revocationReasons) as RevocationReason[];
  return names.find(
    (name) => name.toLowerCase() === text.toLowerCase() || String(revocationReasons[name]) === text,
  );
}

/** The number to send; undefined for `unspecified`, which is said by leaving it out (RFC 5280 §5.3.1). */
export function reasonCode(reason: RevocationReason): number | undefined {
  return reason === 'unspecified' ? undefined : revocationReasons[reason];
}
