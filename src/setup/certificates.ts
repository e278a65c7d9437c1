import {
  createHash,
  createPublicKey,
  randomBytes,
  sign,
  type KeyObject,
  generateKeyPairSync,
} from 'node:crypto';
import { ipBytes } from '../lib/networks.ts';

/** A value in the Distinguished Encoding Rules (ITU-T X.690): tag, length, content. */
function value(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const hex = body.length.toString(16);
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body]);
}

export const sequence = (...items: readonly Buffer[]): Buffer => value(0x30, ...items);
export const set = (...items: readonly Buffer[]): Buffer => value(0x31, ...items);
export const octets = (bytes: Buffer): Buffer => value(0x04, bytes);
export const text = (utf8: string): Buffer => value(0x0c, Buffer.from(utf8));
export const yes = (): Buffer => value(0x01, Buffer.from([0xff]));

/** A number from 0 up, its bytes with the highest first. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const rest = first < 0 ? Buffer.from([0]) : bytes.subarray(first);
  // The highest bit is the sign.
  return (rest[0] ?? 0) < 0x80 ? value(0x02, rest) : value(0x02, Buffer.from([0]), rest);
}

/** A string of bits, of whose last byte so many are not used. */
export function bits(bytes: Buffer, unused = 0): Buffer {
  return value(0x03, Buffer.from([unused]), bytes);
}

/** `[number]` of a choice or an optional item, `constructed` if it holds other values. */
export function tagged(number: number, content: Buffer, form: 'primitive' | 'constructed'): Buffer {
  return value((form === 'constructed' ? 0xa0 : 0x80) | number, content);
}

/** An object identifier such as `2.5.29.17`. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...arcs] = dotted.split('.').map(Number);
  return value(0x06, Buffer.from([first * 40 + second, ...arcs.flatMap(base128)]));
}

function base128(arc: number): number[] {
  const digits = [arc & 0x7f];
  for (let rest = arc >>> 7; rest > 0; rest >>>= 7) digits.unshift((rest & 0x7f) | 0x80);
  return digits;
}

/** Seconds, as X.509 wants them: two digits of the year before 2050 (RFC 5280, section 4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = `${date.toISOString().replaceAll(/\D/g, '').slice(0, 14)}Z`;
  return date.getUTCFullYear() < 2050
    ? value(0x17, Buffer.from(digits.slice(2)))
    : value(0x18, Buffer.from(digits));
}

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
    publicKeyInfo(options.key),
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

function publicKeyInfo(key: KeyObject): Buffer {
  const publicHalf = key.type === 'public' ? key : createPublicKey(key);
  return publicHalf.export({ type: 'spki', format: 'der' });
}

/** Any digest of the key will do (RFC 7093, section 2). */
function keyId(key: KeyObject): Buffer {
  return createHash('sha256').update(publicKeyInfo(key)).digest().subarray(0, 20);
}

/** A file of the set, to be readable by its owner alone if it holds a key. */
export interface TlsFile {
  readonly name: string;
  readonly text: string;
  readonly holds: 'certificate' | 'key';
}

const DAY_MS = 86_400_000;
const VALID_DAYS = 365;
/** Clocks differ. */
const EARLIER_MS = 3_600_000;
const AUTHORITY = 'Pierhead trial authority';

/**
 * An authority, a certificate of it for a server of these names and addresses, and one for clients. The key of the
 * authority is forgotten: nobody can ever make another certificate that its clients would trust.
 */
export function createTlsSet(hosts: readonly string[], now: Date): readonly TlsFile[] {
  const authority = newKeys();
  const certificate = (purpose: Purpose, commonName: string, key: KeyObject): string =>
    createCertificate({
      purpose,
      commonName,
      hosts: purpose === 'server' ? hosts : [],
      key,
      issuer: { commonName: AUTHORITY, privateKey: authority.privateKey },
      notBefore: new Date(now.getTime() - EARLIER_MS),
      notAfter: new Date(now.getTime() + VALID_DAYS * DAY_MS),
    });
  const pair = (purpose: 'server' | 'client', commonName: string): readonly TlsFile[] => {
    const { publicKey, privateKey } = newKeys();
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    return [
      { name: `${purpose}.crt`, text: certificate(purpose, commonName, publicKey), holds: 'certificate' },
      { name: `${purpose}.key`, text: key, holds: 'key' },
    ];
  };
  return [
    { name: 'ca.crt', text: certificate('authority', AUTHORITY, authority.publicKey), holds: 'certificate' },
    ...pair('server', hosts[0] ?? 'pierhead'),
    ...pair('client', 'pierhead client'),
  ];
}

function newKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
