import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Tell } from '../../events/events.ts';
import { certificateProblem } from '../../lib/certificates.ts';
import { FileError, messageOf } from '../../lib/errors.ts';
import { WatchedFiles } from '../../lib/files.ts';

export interface TlsOptions {
  /** Absolute path of a PEM file: the certificate, then its intermediate certificates. `key` is the path of its key. */
  readonly cert: string;
  readonly key: string;
  /** Path of the authorities that sign client certificates. Undefined: clients need no certificate. */
  readonly clientCa: string | undefined;
  readonly tell: Tell<'fileRead' | 'certificate'>;
}

export interface TlsIdentity {
  readonly context: Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'minVersion'>;
  readonly notAfter: Date;
}

/** The certificate of `tlsCert`, read again when its files change. */
export class Tls {
  readonly needsClientCertificate: boolean;
  readonly #files: WatchedFiles<TlsIdentity>;
  readonly #followers = new Set<(identity: TlsIdentity) => void>();

  /** Throws FileError. */
  constructor({ cert, key, clientCa, tell }: TlsOptions) {
    this.needsClientCertificate = clientCa !== undefined;
    this.#files = new WatchedFiles({
      paths: [cert, key, ...(clientCa === undefined ? [] : [clientCa])],
      parse: identityOf,
      onChange: (identity) => {
        for (const follow of this.#followers) follow(identity);
        tell('fileRead', { setting: 'tlsCert' });
        tell('certificate', { notAfter: identity.notAfter });
      },
      onError: (error) => tell('fileRead', { setting: 'tlsCert', reason: messageOf(error) }),
    });
    tell('certificate', { notAfter: this.identity.notAfter });
  }

  get identity(): TlsIdentity {
    return this.#files.value;
  }

  /** Calls `onChange` with each new certificate. */
  follow(onChange: (identity: TlsIdentity) => void): void {
    this.#followers.add(onChange);
  }

  close(): void {
    this.#files.close();
  }
}

function identityOf([cert = '', key = '', ca]: readonly string[]): TlsIdentity {
  // createSecureContext accepts any text as authorities, and would then trust none.
  const problem = ca === undefined ? undefined : certificateProblem(ca);
  if (problem !== undefined) throw new FileError(`tlsClientCa: the file ${problem}`);
  try {
    const notAfter = notAfterOf(cert);
    const context = { cert, key, ca, minVersion: 'TLSv1.2' } as const;
    // Throws if the key does not belong to the certificate.
    createSecureContext(context);
    return { context, notAfter };
  } catch (cause) {
    // In the words of OpenSSL: `key values mismatch`, `no start line`.
    const why = cause instanceof Error && 'reason' in cause ? String(cause.reason) : 'not readable as PEM';
    throw new FileError(`tlsCert and tlsKey cannot be used together: ${why}`, { cause });
  }
}

/** Throws if `pem` does not begin with a certificate. */
function notAfterOf(pem: string): Date {
  return new Date(new X509Certificate(pem).validTo);
}

/**
 * Whether a client has a certificate of a trusted authority. Node marks a resumed TLS 1.3 session as authorized even
 * without a certificate, so the certificate itself is checked, too.
 */
export function hasClientCertificate(socket: Socket): boolean {
  const { authorized, getPeerX509Certificate } = socket as Partial<TLSSocket>;
  return authorized === true && getPeerX509Certificate?.call(socket) !== undefined;
}
