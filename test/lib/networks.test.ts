import { describe, expect, it } from 'vitest';
import { networkAround, networkOverlap } from '../../src/lib/networks.ts';

describe('the network around an address', () => {
  it.each([
    ['10.2.7.45', '10.2.7.0/24'],
    ['127.0.0.1', '127.0.0.0/24'],
    ['fd00:0:0:1:a:b:c:d', 'fd00:0:0:1::/64'],
    ['FD00::1', 'fd00:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['2001:db8:1:2:3:4:192.0.2.1', '2001:db8:1:2::/64'],
  ])('of %s is %s, which holds it', (address, network) => {
    expect(networkAround(address)).toBe(network);
    const bits = address.includes(':') ? 128 : 32;
    expect(networkOverlap(network)(`${address.replace(/%.*/, '')}/${bits}`)).toBe(true);
  });

  it.each(['', 'localhost', '10.2.7', '/run/socket'])('is not known of %j', (text) => {
    expect(networkAround(text)).toBeUndefined();
  });
});

describe('two networks', () => {
  it.each([
    ['10.0.0.0/8', '10.2.7.0/24', true],
    ['10.2.7.45/32', '10.2.7.0/24', true],
    ['10.2.7.0/24', '10.2.7.0/24', true],
    ['10.2.8.0/24', '10.2.7.0/24', false],
    ['0.0.0.0/0', '10.2.7.0/24', true],
    ['fd00::/8', 'fd00:0:0:1::/64', true],
    ['fd00:0:0:2::/64', 'fd00:0:0:1::/64', false],
    ['fd00::/8', '10.2.7.0/24', false],
  ])('%s and %s have addresses in common: %s', (a, b, common) => {
    expect(networkOverlap(a)(b)).toBe(common);
    expect(networkOverlap(b)(a)).toBe(common);
  });
});
