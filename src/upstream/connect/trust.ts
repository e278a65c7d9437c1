import { readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { certificateProblem, certificatesIn } from '../../lib/certificates.ts';

/** A file of certificates cannot be used; `message` says why, for people. */
export class CertificateFileError extends Error {
  override readonly name = 'CertificateFileError';
  readonly code = 'certificate-file';
}

/**
 * Trust in what Node trusts (its own roots, and those of `NODE_EXTRA_CA_CERTS`) and in the PEM certificates of
 * `caFile`. One context for all connections: to load 150 roots takes 25 ms. Throws CertificateFileError.
 */
export function trustAlso(caFile: string): SecureContext {
  const ca = [...rootCertificates, ...extraCertificates(), ...readCertificates(caFile)];
  return createSecureContext({ ca });
}

/** Node reads that file only where no `ca` is given; one that cannot be read it warns of, and goes on without. */
function extraCertificates(): string[] {
  const file = process.env['NODE_EXTRA_CA_CERTS'];
  if (file === undefined || file === '') return [];
  try {
    return [readFileSync(file, 'utf8')];
  } catch {
    return [];
  }
}

function readCertificates(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CertificateFileError(`the certificates in ${file} cannot be read`, { cause });
  }
  // createSecureContext takes what is malformed without a word.
  const problem = certificateProblem(text);
  if (problem !== undefined) throw new CertificateFileError(`${file} ${problem}`);
  return certificatesIn(text);
}
