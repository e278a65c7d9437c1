import { X509Certificate } from 'node:crypto';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates in a text in PEM form. */
export function certificatesIn(pem: string): string[] {
  return pem.match(CERTIFICATE) ?? [];
}

/** Why a text is not PEM certificates, as the end of a sentence; undefined: it is. */
export function certificateProblem(pem: string): string | undefined {
  const certificates = certificatesIn(pem);
  if (certificates.length === 0) return 'holds no certificate';
  return certificates.every(isCertificate) ? undefined : 'holds a malformed certificate';
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
