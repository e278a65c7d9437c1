import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Tell } from '../../events/events.ts';
import { certificateProblem } from '../../lib/certificates.ts';
import { FileError, messageOf } from '../../lib/errors.ts';
import { WatchedFiles } from '../../lib/files.ts';

export interface TlsOptions {
  /** Absolute paths of PEM files: the certificate with what is between it and its root, and its key. */
  readonly cert: string;
  readonly key: string;
  /** Of the authorities whose clients may connect; undefined: clients need no certificate. */
  readonly clientCa: string | undefined;
  readonly tell: Tell<'fileRead' | 'certificate'>;
}

/** What servers need to know of a certificate. */
export interface TlsIdentity {
  readonly context: Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'minVersion'>;
  readonly notAfter: Date;
}

/** The certificate of the settings, read again when its files change. */
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

  /** Has a server told of each new certificate. */
  follow(onChange: (identity: TlsIdentity) => void): void {
    this.#followers.add(onChange);
  }

  close(): void {
    this.#files.close();
  }
}

function identityOf([cert = '', key = '', ca]: readonly string[]): TlsIdentity {
  // createSecureContext takes any text for authorities, and would then trust none.
  const problem = ca === undefined ? undefined : certificateProblem(ca);
  if (problem !== undefined) throw new FileError(`the file of authorities for clients ${problem}`);
  try {
    const notAfter = notAfterOf(cert);
    const context = { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' } as const;
    // Fails if key and certificate do not belong together.
    createSecureContext(context);
    return { context, notAfter };
  } catch (cause) {
    // OpenSSL's own words: `key values mismatch`, `no start line`.
    const why = cause instanceof Error && 'reason' in cause ? String(cause.reason) : 'not readable as PEM';
    throw new FileError(`certificate and key cannot be used together: ${why}`, { cause });
  }
}

/** Throws if `pem` does not begin with a certificate. */
function notAfterOf(pem: string): Date {
  return new Date(new X509Certificate(pem).validTo);
}

/**
 * Whether a client has shown a certificate of an authority that is trusted. Node calls a resumed TLS 1.3 session
 * authorized although the client had no certificate, so there must be one.
 */
export function hasClientCertificate(socket: Socket): boolean {
  const { authorized, getPeerX509Certificate } = socket as Partial<TLSSocket>;
  return authorized === true && getPeerX509Certificate?.call(socket) !== undefined;
}
