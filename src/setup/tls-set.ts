import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createCertificate, type Purpose } from './certificate.ts';

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
