import { createPrivateKey, X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { integer, oid, time } from '../../src/setup/certificates.ts';
import { createTlsSet } from '../../src/setup/certificates.ts';
import { run } from '../support/commands.ts';
import { testFolder } from '../support/temp.ts';

const NOW = new Date('2026-05-06T07:08:09Z');

function setFor(hosts: readonly string[]) {
  const texts = new Map(createTlsSet(hosts, NOW).map(({ name, text }) => [name, text]));
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
});

describe('DER', () => {
  it.each([
    ['2.5.29.17', '0603551d11'],
    ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
    ['1.3.6.1.5.5.7.3.1', '06082b06010505070301'],
  ])('spells %s as %s', (dotted, hex) => {
    expect(oid(dotted).toString('hex')).toBe(hex);
  });

  it('writes whole numbers in the fewest bytes, and never as negative ones', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), (bytes) => {
        const [tag, length = 0, ...content] = integer(bytes);
        expect([tag, length]).toEqual([2, content.length]);
        const number = (of: Iterable<number>) => BigInt(`0x${Buffer.from([...of]).toString('hex')}`);
        expect(number(content)).toBe(number(bytes));
        expect(content[0]).toBeLessThan(0x80);
        if (content.length > 1) expect(content[0] === 0 && (content[1] ?? 0) < 0x80).toBe(false);
      }),
    );
  });

  it('changes the spelling of times with the year 2050', () => {
    expect(time(new Date('2049-12-31T23:59:59Z')).toString('latin1')).toBe('\x17\r491231235959Z');
    expect(time(new Date('2050-01-01T00:00:00Z')).toString('latin1')).toBe('\x18\x0f20500101000000Z');
  });
});
