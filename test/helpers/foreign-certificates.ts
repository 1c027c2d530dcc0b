import { makeCsr } from '../../src/x509/index.ts';
import { type TestCa, testCa } from '../x509/helpers/chain.ts';

/** A certificate that another client ordered somewhere, and the CSR that it was ordered with. */
export interface ForeignCertificate {
  ref: string;
  name: string;
  csrPem: string;
  chainPem: string;
}

const authorities = new Map<string, Promise<TestCa>>();

/** A CA that no server of the tests is; made once. */
export function otherCa(): Promise<TestCa> {
  const ca = authorities.get('other') ?? testCa('ec', 'Other');
  authorities.set('other', ca);
  return ca;
}

/** Certificates of that CA for these names, one each. */
export async function foreignCertificates(
  names: readonly string[],
  times: { notBefore?: string; notAfter?: string } = {},
): Promise<ForeignCertificate[]> {
  const ca = await otherCa();
  return Promise.all(
    names.map(async (name) => {
      const { pem } = await makeCsr({ names: [name] });
      const leaf = await ca.issue({ csrPem: pem, names: [name], ...times });
      return { ref: name, name, csrPem: pem, chainPem: leaf + ca.intermediate };
    }),
  );
}
