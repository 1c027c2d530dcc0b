// tsyringe, inside @peculiar/x509, needs the Reflect API before it is loaded. This is the only module
// that imports either: they cost 0.2 s and 20 MB, which a worker does not spend.
import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import { cryptoProvider } from '@peculiar/x509';

// Node's own WebCrypto: keys of another implementation fail in jose and in node:crypto.
cryptoProvider.set(webcrypto);

export {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
