import { createHash, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { bits, integer, octets, oid, sequence, set, tagged, text, time, yes } from '../lib/der.ts';
import { ipBytes } from '../lib/ip-bytes.ts';

/** What a certificate is for. */
export type Purpose = 'authority' | 'server' | 'client';

export interface CertificateOptions {
  readonly purpose: Purpose;
  /** For people. */
  readonly commonName: string;
  /** DNS names and IP addresses of a server. */
  readonly hosts: readonly string[];
  /** P-256, public or private. */
  readonly key: KeyObject;
  readonly issuer: { readonly commonName: string; readonly privateKey: KeyObject };
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
/** Bits of the extension key usage, from the highest. */
const SIGN_CERTIFICATES = { byte: 0x06, unused: 1 };
const SIGN = { byte: 0x80, unused: 7 };
const EXTENDED_USE: Readonly<Record<Exclude<Purpose, 'authority'>, string>> = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
};

/** An X.509 certificate (RFC 5280) in PEM form. */
export function createCertificate(options: CertificateOptions): string {
  const body = sequence(
    tagged(0, integer(Buffer.from([2])), 'constructed'),
    integer(randomBytes(16)),
    ECDSA_WITH_SHA256,
    name(options.issuer.commonName),
    sequence(time(options.notBefore), time(options.notAfter)),
    name(options.commonName),
    publicKey(options.key),
    tagged(3, sequence(...extensions(options)), 'constructed'),
  );
  const signature = sign('sha256', body, options.issuer.privateKey);
  const lines =
    sequence(body, ECDSA_WITH_SHA256, bits(signature))
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function extensions({ purpose, hosts, key, issuer }: CertificateOptions): Buffer[] {
  const isAuthority = purpose === 'authority';
  const usage = isAuthority ? SIGN_CERTIFICATES : SIGN;
  return [
    extension('2.5.29.19', sequence(...(isAuthority ? [yes()] : [])), 'critical'),
    extension('2.5.29.15', bits(Buffer.from([usage.byte]), usage.unused), 'critical'),
    extension('2.5.29.14', octets(keyId(key))),
    extension('2.5.29.35', sequence(tagged(0, keyId(issuer.privateKey), 'primitive'))),
    ...(isAuthority ? [] : [extension('2.5.29.37', sequence(oid(EXTENDED_USE[purpose])))]),
    ...(hosts.length === 0 ? [] : [extension('2.5.29.17', sequence(...hosts.map(alternativeName)))]),
  ];
}

function extension(id: string, content: Buffer, weight?: 'critical'): Buffer {
  return sequence(oid(id), ...(weight === undefined ? [] : [yes()]), octets(content));
}

function alternativeName(host: string): Buffer {
  const address = ipBytes(host);
  return address === undefined
    ? tagged(2, Buffer.from(host, 'ascii'), 'primitive')
    : tagged(7, address, 'primitive');
}

function name(commonName: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), text(commonName))));
}

function publicKey(key: KeyObject): Buffer {
  const publicHalf = key.type === 'public' ? key : createPublicKey(key);
  return publicHalf.export({ type: 'spki', format: 'der' });
}

/** Any digest of the key will do (RFC 7093, section 2). */
function keyId(key: KeyObject): Buffer {
  return createHash('sha256').update(publicKey(key)).digest().subarray(0, 20);
}
