import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressKind, literalAddress, networkTest } from '../../../src/upstream/connect/dial-guard.ts';

describe('an address', () => {
  it.each([
    ['8.8.8.8', 'public'],
    ['2606:4700::1111', 'public'],
    ['10.1.2.3', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.0', 'public'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'private'],
    ['fd12:3456::1', 'private'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['169.254.169.254', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['169.254.170.23', 'metadata'],
    ['fd00:ec2::23', 'metadata'],
    ['fd20:ce::254', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['168.63.129.16', 'metadata'],
    ['0.0.0.0', 'reserved'],
    ['::', 'reserved'],
    ['224.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['ff02::1', 'reserved'],
    ['198.18.0.1', 'reserved'],
  ])('%s is %s', (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });

  it.each([
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:a9fe:a9fe', 'metadata'],
    ['::127.0.0.1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['64:ff9b::808:808', 'public'],
    ['2002:0a00:0001::1', 'private'],
    ['2002:0808:0808::1', 'public'],
  ])('%s, which stands for an IPv4 one, is %s', (address, kind) => {
    expect(addressKind(address)).toBe(kind);
  });

  it('is of the same kind in each way of writing it as IPv6', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const kind = addressKind(address);
        expect(addressKind(`::ffff:${address}`)).toBe(kind);
        expect(addressKind(`64:ff9b::${address}`)).toBe(kind);
        const literal = literalAddress(new URL(`http://[::ffff:${address}]/`).hostname) ?? '';
        expect(addressKind(literal)).toBe(kind);
      }),
    );
  });

  it('of IPv6 always has a kind', () => {
    fc.assert(fc.property(fc.ipV6(), (address) => /^[a-z-]+$/.test(addressKind(address))));
  });

  it('is spelt by the host of a URL, however odd, or that is a name', () => {
    for (const odd of ['http://0x7f.1/', 'http://2130706433/', 'http://0177.0.0.1/']) {
      expect(literalAddress(new URL(odd).hostname)).toBe('127.0.0.1');
    }
    expect(literalAddress(new URL('https://[::1]:5000/').hostname)).toBe('::1');
    expect(literalAddress('registry.example')).toBeUndefined();
  });

  it('is in the networks that hold it, mapped or not', () => {
    const isNamed = networkTest(['10.1.0.0/16', 'fd00:1::/32']);
    expect(['10.1.2.3', '::ffff:10.1.2.3', 'fd00:1::9'].map(isNamed)).toEqual([true, true, true]);
    expect(['10.2.0.1', 'fd00:2::9'].map(isNamed)).toEqual([false, false]);
  });
});
