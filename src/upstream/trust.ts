import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';

/** A file of certificates cannot be used; `message` says why, for people. */
export class CertificateFileError extends Error {
  override readonly name = 'CertificateFileError';
  readonly code = 'certificate-file';
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Trust in what Node trusts (its own roots, and those of `NODE_EXTRA_CA_CERTS`) and in the PEM certificates of
 * `caFile`. One context for all connections: to load 150 roots takes 25 ms. Throws CertificateFileError.
 */
export function trustAlso(caFile: string): SecureContext {
  const extraFile = process.env['NODE_EXTRA_CA_CERTS'];
  const ca = [...rootCertificates, ...readCertificates(caFile)];
  // Node reads that file only where no `ca` is given, and takes it for a warning if it cannot.
  if (extraFile !== undefined && extraFile !== '') ca.push(readFileSync(extraFile, 'utf8'));
  return createSecureContext({ ca });
}

function readCertificates(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CertificateFileError(`the certificates in ${file} cannot be read`, { cause });
  }
  const certificates = text.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new CertificateFileError(`${file} holds no PEM certificate`);
  // createSecureContext takes what is malformed without a word.
  if (!certificates.every(isCertificate))
    throw new CertificateFileError(`${file} holds a malformed certificate`);
  return certificates;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
