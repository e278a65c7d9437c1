import type { IncomingMessage } from 'node:http';
import { isIP, isIPv6 } from 'node:net';
import { recentOf } from '../../lib/caches.ts';
import { blockListOf } from '../../lib/networks.ts';

/** BlockList makes an object per look-up, too slow for each request. Clients come back, so results are cached. */
const MAX_REMEMBERED = 10_000;

/** Returns a test whether an address is in one of `cidrs` (valid IPv4 or IPv6 networks). */
export function networkMatcher(cidrs: readonly string[]): (address: string) => boolean {
  if (cidrs.length === 0) return () => false;
  const list = blockListOf(cidrs);
  return recentOf(MAX_REMEMBERED, (address) => list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'));
}

/**
 * The usual form of a socket's address. An IPv4 client of a dual-stack listener gets its IPv4 address. A link-local
 * address loses its zone (`fe80::1%eth0`), with which no network would match.
 */
export function plainAddress(remoteAddress: string | undefined): string {
  const written = remoteAddress ?? '';
  const zone = written.indexOf('%');
  const address = zone < 0 ? written : written.slice(0, zone);
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** Whether a listening address is reachable, or a client's address comes, from this machine only. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address === 'localhost' || /^(::ffff:)?127\./.test(address);
}

/**
 * The client's address: the peer or, behind a trusted proxy, the rightmost address in `X-Forwarded-For` that is not a
 * trusted proxy. Clients can forge all addresses to its left. `Forwarded` (RFC 7239) is not read: a proxy that sets one
 * of the two headers passes the other on unchecked.
 */
export function clientAddress(request: IncomingMessage, isTrusted: (address: string) => boolean): string {
  const peer = plainAddress(request.socket.remoteAddress);
  if (!isTrusted(peer)) return peer;
  // Header lines with the same name are one list (RFC 9110 section 5.3); Node joins them.
  const hops = [request.headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  let client = peer;
  for (const hop of hops.toReversed()) {
    const address = withoutPort(hop.trim());
    // A trusted proxy adds addresses only. The sender of any other text is the client.
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
