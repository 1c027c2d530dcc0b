/**
 * The documented, stable list of why a CSR is refused. Applications translate these; codes are only
 * ever added.
 */
export type ReasonCode =
  | 'account_key'
  | 'bad_signature'
  | 'client_auth_eku'
  | 'cn_not_in_san'
  | 'duplicate_extension'
  | 'ip_not_supported'
  | 'key_invalid'
  | 'key_type_refused'
  | 'must_staple'
  | 'name_invalid'
  | 'name_not_ascii'
  | 'no_san'
  | 'not_a_csr'
  | 'private_key'
  | 'public_suffix'
  | 'signature_algorithm'
  | 'too_many_names'
  | 'unsupported_san';

/** Why a CSR is refused: a stable `code`, and one sentence that says what is wrong and the cure. */
export interface Reason {
  code: string;
  text: string;
}

/** Builds a {@link Reason} whose code is one of the documented ones. */
export function reason(code: ReasonCode, text: string): Reason {
  return { code, text };
}
