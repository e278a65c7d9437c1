import { readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { certificateProblem, certificatesIn } from '../../lib/certificates.ts';

/** A file of certificates is unusable; `message` says why, for people. */
export class CertificateFileError extends Error {
  override readonly name = 'CertificateFileError';
  readonly code = 'certificate-file';
}

/**
 * Trusts Node's roots, those of `NODE_EXTRA_CA_CERTS` and the PEM certificates of `caFile`. One context for all
 * connections: loading 150 roots takes 25 ms. Throws CertificateFileError.
 */
export function trustAlso(caFile: string): SecureContext {
  const ca = [...rootCertificates, ...extraCertificates(), ...readCertificates(caFile)];
  return createSecureContext({ ca });
}

/** Node reads this file only if no `ca` is given. For an unreadable one it warns and goes on without. */
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
    throw new CertificateFileError(`cannot read the certificates in ${file}`, { cause });
  }
  // createSecureContext ignores malformed certificates silently.
  const problem = certificateProblem(text);
  if (problem !== undefined) throw new CertificateFileError(`${file} ${problem}`);
  return certificatesIn(text);
}
