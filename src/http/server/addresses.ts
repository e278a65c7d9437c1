import type { IncomingMessage } from 'node:http';
import { BlockList, isIPv6, isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/caches.ts';

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

/**
 * The address of the client behind `request`: its peer or, where the peer is a proxy that is trusted, the one that the
 * proxies say, which is the rightmost of `X-Forwarded-For` that is no trusted proxy. What stands left of it anybody can
 * have written. `Forwarded` (RFC 7239) is not read: proxies that set one of the two pass the other on as it came.
 */
export function clientAddress(request: IncomingMessage, isTrusted: (address: string) => boolean): string {
  const peer = plainAddress(request.socket.remoteAddress);
  if (!isTrusted(peer)) return peer;
  // Lines of the same name are one list (RFC 9110, section 5.3); Node joins them.
  const hops = [request.headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  let client = peer;
  for (const hop of hops.toReversed()) {
    const address = withoutPort(hop.trim());
    // What is no address tells that whoever added it is no proxy to be trusted: its own address is the last known.
    if (isIP(address) === 0) return client;
    client = plainAddress(address);
    if (!isTrusted(client)) return client;
  }
  return client;
}

/** Some proxies write `192.0.2.1:4711` or `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}
