import { describe, expect, it } from 'vitest';
import { networkMatcher, plainAddress } from '../../../src/http/server/addresses.ts';

describe('the address of a socket', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8::7', '2001:db8::7'],
    ['fe80::1%eth0', 'fe80::1'],
    [undefined, ''],
  ])('%s is written as %s', (remoteAddress, plain) => {
    expect(plainAddress(remoteAddress)).toBe(plain);
  });

  it('of a link is in the networks that hold it', () => {
    expect(networkMatcher(['fe80::/10'])(plainAddress('fe80::1%eth0'))).toBe(true);
  });
});
