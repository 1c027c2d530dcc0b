import { DerError, type Element, oid, Tag, within } from './der.ts';

/** Extensions by dotted object identifier; the element is the DER inside the OCTET STRING. */
export interface Extensions {
  values: Map<string, Element>;
  /** Object identifiers that came more than once (RFC 5280 §4.2 forbids it); the first one counts. */
  duplicates: string[];
}

/** Object identifiers of the extensions that we look at. */
export const Oid = {
  subjectAltName: '2.5.29.17',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  tlsFeature: '1.3.6.1.5.5.7.1.24',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Reads `Extensions` (RFC 5280 §4.1) into `into`; throws {@link DerError}. */
export function readExtensions(sequence: Element, into: Extensions): void {
  const list = within(sequence);
  while (!list.done) {
    const extension = list.enter(Tag.sequence, 'an extension');
    const id = oid(extension.next(Tag.oid, "an extension's identifier"));
    extension.nextIf(Tag.boolean, "an extension's critical flag");
    const value = extension.next(Tag.octetString, "an extension's value");
    extension.finish('an extension');
    if (into.values.has(id)) into.duplicates.push(id);
    else into.values.set(id, value);
  }
}

/** The kinds of `GeneralName` (RFC 5280 §4.2.1.6) by their context tag. */
export const generalNameKinds: ReadonlyMap<number, string> = new Map([
  [0xa0, 'an otherName'],
  [0x81, 'an e-mail address'],
  [0x82, 'a DNS name'],
  [0xa3, 'an X.400 address'],
  [0xa4, 'a directory name'],
  [0xa5, 'an EDI party name'],
  [0x86, 'a URI'],
  [0x87, 'an IP address'],
  [0x88, 'a registered ID'],
]);

/** The context tag of a dNSName and of an iPAddress. */
export const dnsNameTag = 0x82;
export const ipAddressTag = 0x87;

/** The entries of a subjectAltName extension's value, in order; throws {@link DerError}. */
export function readGeneralNames(value: Element): Element[] {
  const outer = within(value);
  const list = outer.enter(Tag.sequence, 'the subjectAltName extension');
  outer.finish('the subjectAltName extension');
  const names: Element[] = [];
  while (!list.done) {
    const name = list.any('a subject alternative name');
    if (!generalNameKinds.has(name.tag)) {
      throw new DerError('a subject alternative name has an unknown type', name.offset);
    }
    names.push(name);
  }
  return names;
}

/** The purposes of an extKeyUsage extension's value (RFC 5280 §4.2.1.12); throws {@link DerError}. */
export function readKeyPurposes(value: Element): string[] {
  const outer = within(value);
  const list = outer.enter(Tag.sequence, 'the extKeyUsage extension');
  outer.finish('the extKeyUsage extension');
  const purposes: string[] = [];
  while (!list.done) purposes.push(oid(list.next(Tag.oid, 'a key purpose')));
  return purposes;
}

/** How a certificate names its issuer's key (RFC 5280 §4.2.1.1), if it does; throws {@link DerError}. */
export function readAuthorityKeyId({ values }: Extensions): Buffer | undefined {
  const value = values.get(Oid.authorityKeyIdentifier);
  // keyIdentifier is the first member, [0] IMPLICIT.
  return (
    value && within(value).enter(Tag.sequence, 'the extension').nextIf(0x80, 'the key')?.content
  );
}
