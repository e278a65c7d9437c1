import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { StartError } from '../../src/lib/errors.ts';
import { createTlsSet } from '../../src/setup/certificates.ts';
import { run } from '../support/commands.ts';
import { testFolder } from '../support/temp.ts';

const NOW = new Date('2026-05-06T07:08:09Z');

function setFor(hosts: readonly string[], now = NOW) {
  const texts = new Map(createTlsSet(hosts, now).map(({ name, text }) => [name, text]));
  return (name: string): string => texts.get(name) ?? '';
}

describe('a set of certificates for a trial', () => {
  it('is of one authority, each certificate with its own key and for its own use', () => {
    const file = setFor(['mirror.example.net', '192.0.2.7', '2001:db8::7']);
    const ca = new X509Certificate(file('ca.crt'));
    expect(ca.ca).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    for (const [name, use] of [
      ['server', '1.3.6.1.5.5.7.3.1'],
      ['client', '1.3.6.1.5.5.7.3.2'],
    ] as const) {
      const certificate = new X509Certificate(file(`${name}.crt`));
      expect(certificate.checkIssued(ca)).toBe(true);
      expect(certificate.verify(ca.publicKey)).toBe(true);
      expect(certificate.checkPrivateKey(createPrivateKey(file(`${name}.key`)))).toBe(true);
      expect(certificate.ca).toBe(false);
      expect(certificate.keyUsage).toEqual([use]);
      expect(new Date(certificate.validFrom)).toEqual(new Date('2026-05-06T06:08:09Z'));
      expect(new Date(certificate.validTo)).toEqual(new Date('2027-05-06T07:08:09Z'));
    }
    const server = new X509Certificate(file('server.crt'));
    expect(server.checkHost('mirror.example.net')).toBe('mirror.example.net');
    expect(server.checkHost('other.example.net')).toBeUndefined();
    expect(server.checkIP('192.0.2.7')).toBe('192.0.2.7');
    expect(server.checkIP('2001:db8::7')).toBe('2001:db8::7');
    expect(server.checkIP('192.0.2.8')).toBeUndefined();
  });

  it('stands up to the strictest checks of OpenSSL, each for its own use only', async () => {
    const folder = await testFolder();
    const file = setFor(['localhost']);
    for (const name of ['ca.crt', 'server.crt', 'client.crt'])
      await writeFile(join(folder, name), file(name));
    const strict = ['-x509_strict', '-check_ss_sig', '-attime', String(NOW.getTime() / 1000)];
    const verify = (purpose: string, name: string) => {
      const authority = ['-CAfile', join(folder, 'ca.crt')];
      const args = ['verify', ...strict, ...authority, '-purpose', purpose, join(folder, name)];
      return run({ program: 'openssl', args });
    };
    await verify('sslserver', 'server.crt');
    await verify('sslclient', 'client.crt');
    await expect(verify('sslclient', 'server.crt')).rejects.toThrow();
    await expect(verify('sslserver', 'client.crt')).rejects.toThrow();
  });

  it('holds no key that could sign more', () => {
    const names = createTlsSet(['localhost'], NOW).map(({ name }) => name);
    expect(names).toEqual(['ca.crt', 'server.crt', 'server.key', 'client.crt', 'client.key']);
  });

  it('takes a name that is too long for a common name', () => {
    const host = `${'a'.repeat(60)}.example.net`;
    const server = new X509Certificate(setFor([host])('server.crt'));
    expect(server.subject).toBe('CN=pierhead');
    expect(server.checkHost(host)).toBe(host);
  });

  it('is valid for a year in the year 2050 too, from which on times are spelt differently', () => {
    const ca = new X509Certificate(setFor(['localhost'], new Date('2049-12-31T23:59:59Z'))('ca.crt'));
    expect(new Date(ca.validFrom)).toEqual(new Date('2049-12-31T22:59:59Z'));
    expect(new Date(ca.validTo)).toEqual(new Date('2050-12-31T23:59:59Z'));
  });
});

describe('what is made on the way to a set', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('is gone afterwards', async () => {
    const folder = await testFolder();
    vi.stubEnv('TMPDIR', folder);
    setFor(['localhost']);
    expect(await readdir(folder)).toEqual([]);
  });

  it('is for its owner alone, and gone after a failure of openssl, of which one is told', async () => {
    const [folder, programs] = [await testFolder(), await testFolder()];
    const seen = join(programs, 'seen');
    const program = `#!${process.execPath}
      const { readdirSync, statSync, writeFileSync } = require('node:fs');
      const modes = ['.', ...readdirSync('.').filter((name) => name.endsWith('.key'))]
        .map((name) => name + ' ' + (statSync(name).mode & 0o777).toString(8));
      writeFileSync('${seen}', [...modes, ...Object.keys(process.env).filter((name) => /SECRET/.test(name))].join());
      console.error('no\\nluck');
      process.exit(1);`;
    await writeFile(join(programs, 'openssl'), program, { mode: 0o755 });
    vi.stubEnv('TMPDIR', folder);
    vi.stubEnv('PATH', programs);
    vi.stubEnv('A_SECRET', 'very-secret');
    expect(() => setFor(['localhost'])).toThrow(new StartError('openssl req failed: no luck'));
    expect(await readFile(seen, 'utf8')).toBe('. 700,authority.key 600');
    expect(await readdir(folder)).toEqual([]);
  });

  it('is nothing where openssl is not installed, which is said', async () => {
    const folder = await testFolder();
    vi.stubEnv('TMPDIR', folder);
    vi.stubEnv('PATH', folder);
    const message = 'openssl is not installed; install it, for example by apt-get install openssl';
    expect(() => setFor(['localhost'])).toThrow(new StartError(message));
    expect(await readdir(folder)).toEqual([]);
  });
});
