import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { plainAddress } from './networks.ts';

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
