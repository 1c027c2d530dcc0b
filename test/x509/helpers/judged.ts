import { type CsrRules, defaultKeyTypes, judgeCsr, type Reason } from '../../../src/x509/index.ts';

/** What Let's Encrypt's default profile takes. */
export const rules: CsrRules = { keyTypes: defaultKeyTypes, maxNames: 100 };

/** The reasons for which a CSR is refused, none if it passes. */
export async function reasons(pem: string, over: Partial<CsrRules> = {}): Promise<Reason[]> {
  const verdict = await judgeCsr(pem, { ...rules, ...over });
  return verdict.ok ? [] : verdict.reasons;
}

/** The codes of {@link reasons}. */
export async function codes(pem: string, over: Partial<CsrRules> = {}): Promise<string[]> {
  return (await reasons(pem, over)).map((reason) => reason.code);
}
