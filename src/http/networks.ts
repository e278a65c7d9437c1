import { BlockList, isIPv6 } from 'node:net';
import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/lru-options.ts';

/** Clients come back: the look-up in the list makes an object of each address, which costs more than a request should. */
const MAX_REMEMBERED = 10_000;

/** A test whether an address belongs to one of `cidrs` (valid IPv4 or IPv6 networks). */
export function networkMatcher(cidrs: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [network = '', prefix = ''] = cidr.split('/');
    list.addSubnet(network, Number(prefix), isIPv6(network) ? 'ipv6' : 'ipv4');
  }
  const known = new LRUCache<string, boolean>({
    ...atMost(MAX_REMEMBERED),
    memoMethod: (address) => list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'),
  });
  return (address) => known.memo(address);
}

/**
 * The address of a socket as people write it: an IPv4 client of a dual-stack listener is an IPv4 address, and that of a
 * link has no zone (`fe80::1%eth0`), with which it would be in no network.
 */
export function plainAddress(remoteAddress: string | undefined): string {
  const written = remoteAddress ?? '';
  const zone = written.indexOf('%');
  const address = zone < 0 ? written : written.slice(0, zone);
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** Whether an address, or what is listened on, can be reached from this machine only. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address === 'localhost' || /^(::ffff:)?127\./.test(address);
}
