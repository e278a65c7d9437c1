import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorCode, StartError, systemReason } from '../lib/errors.ts';

/** A file of the set. Only its owner may read a key. */
interface TlsFile {
  readonly name: string;
  readonly text: string;
  readonly holds: 'certificate' | 'key';
}

/** The use of a certificate, and the name of its section in the configuration. */
type Purpose = 'authority' | 'server' | 'client';

const DAY_MS = 86_400_000;
const VALID_DAYS = 365;
/** For clients whose clock is slow. */
const EARLIER_MS = 3_600_000;
/** The longest common name of X.509 (RFC 5280, appendix A.1). */
const MAX_COMMON_NAME = 64;

/**
 * An authority, its certificate for a server with these names and addresses, and one for clients. The key of the authority
 * is thrown away, so that no further certificate can be made. Throws StartError.
 */
export function createTlsSet(hosts: readonly string[], now: Date): readonly TlsFile[] {
  const [host = ''] = hosts;
  // OpenSSL reads the keys from files. `mkdtemp` makes a folder of mode 0700.
  const folder = mkdtempSync(join(tmpdir(), 'pierhead-tls-'));
  try {
    writeFileSync(join(folder, 'openssl.cnf'), configuration(hosts, now));
    writeFileSync(join(folder, 'index.txt'), '');
    writeFileSync(join(folder, 'serial'), randomBytes(16).toString('hex'));
    const authority = pair(folder, 'authority', 'Pierhead trial authority');
    const isName = host.length > 0 && host.length <= MAX_COMMON_NAME;
    const server = pair(folder, 'server', isName ? host : 'pierhead');
    const client = pair(folder, 'client', 'pierhead client');
    return [
      { name: 'ca.crt', text: authority.certificate, holds: 'certificate' },
      { name: 'server.crt', text: server.certificate, holds: 'certificate' },
      { name: 'server.key', text: server.key, holds: 'key' },
      { name: 'client.crt', text: client.certificate, holds: 'certificate' },
      { name: 'client.key', text: client.key, holds: 'key' },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Pair {
  readonly key: string;
  readonly certificate: string;
}

/** A new key and its certificate in PEM form. The authority must be made first. */
function pair(folder: string, purpose: Purpose, commonName: string): Pair {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  writeFileSync(join(folder, `${purpose}.key`), key, { mode: 0o600 });
  const request = ['-new', '-key', `${purpose}.key`, '-subj', `/CN=${commonName}`, '-out', `${purpose}.csr`];
  openssl(folder, ['req', '-config', 'openssl.cnf', ...request]);
  // Not `openssl x509`: it can set the start of validity only from OpenSSL 3.4 on.
  const signing = ['-batch', '-notext', '-extensions', purpose, '-in', `${purpose}.csr`];
  const how = purpose === 'authority' ? [...signing, '-selfsign'] : signing;
  openssl(folder, ['ca', '-config', 'openssl.cnf', ...how, '-out', `${purpose}.crt`]);
  return { key, certificate: readFileSync(join(folder, `${purpose}.crt`), 'utf8') };
}

/** For `openssl req` and `openssl ca` of OpenSSL 1.1.1 or later and LibreSSL. */
function configuration(hosts: readonly string[], now: Date): string {
  const names = hosts.map((host) => `${isIP(host) === 0 ? 'DNS' : 'IP'}:${host}`);
  const identifiers = ['subjectKeyIdentifier = hash', 'authorityKeyIdentifier = keyid'];
  const ofEnds = ['basicConstraints = critical, CA:FALSE', 'keyUsage = critical, digitalSignature'];
  const lines = [
    '[ca]',
    'default_ca = set',
    '[set]',
    'database = index.txt',
    'serial = serial',
    'new_certs_dir = .',
    'private_key = authority.key',
    'certificate = authority.crt',
    `default_startdate = ${time(now.getTime() - EARLIER_MS)}`,
    `default_enddate = ${time(now.getTime() + VALID_DAYS * DAY_MS)}`,
    'default_md = sha256',
    'policy = any',
    '[any]',
    'commonName = supplied',
    '[req]',
    'distinguished_name = asked',
    '[asked]',
    '[authority]',
    'basicConstraints = critical, CA:TRUE',
    'keyUsage = critical, keyCertSign, cRLSign',
    ...identifiers,
    '[server]',
    ...ofEnds,
    ...identifiers,
    'extendedKeyUsage = serverAuth',
    ...(names.length === 0 ? [] : [`subjectAltName = ${names.join(', ')}`]),
    '[client]',
    ...ofEnds,
    ...identifiers,
    'extendedKeyUsage = clientAuth',
  ];
  return `${lines.join('\n')}\n`;
}

/** Before 2050 the year has two digits (RFC 5280, section 4.1.2.5). */
function time(ms: number): string {
  const digits = `${new Date(ms).toISOString().replaceAll(/\D/g, '').slice(0, 14)}Z`;
  return digits < '2050' ? digits.slice(2) : digits;
}

function openssl(folder: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync('openssl', args, {
    cwd: folder,
    // Without the other variables: they hold secrets, or name a configuration of the machine.
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (errorCode(error) === 'ENOENT')
    throw new StartError('openssl is not installed; install it, for example by apt-get install openssl');
  if (error !== undefined) throw new StartError(`cannot run openssl: ${systemReason(error)}`);
  if (status !== 0)
    throw new StartError(`openssl ${args[0]} failed: ${stderr.trim().replaceAll(/\s+/g, ' ')}`);
}
