import type { Settings, UpstreamSettings } from './settings.ts';

/** Credentials for these hosts do not leave the machine. */
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/** Whether Pierhead pulls any repository of this upstream with credentials. */
export function usesCredentials(upstream: UpstreamSettings): boolean {
  const { username, token, tokenFile, credentialHelper, dockerConfig, identities } = upstream;
  const logins = [username, token, tokenFile, credentialHelper, dockerConfig];
  return identities.length > 0 || logins.some((login) => login !== undefined);
}

/** Repository patterns per host that may be served although only the credentials can see them. */
export function privatePatterns({ upstreams }: Settings): ReadonlyMap<string, readonly string[]> {
  return new Map(Object.entries(upstreams).map(([host, entry]) => [host, entry.private]));
}

/** A sentence for each upstream that gets its credentials unencrypted. */
export function plainHttpWarnings({ upstreams }: Settings): string[] {
  return Object.entries(upstreams)
    .filter(([, upstream]) => usesCredentials(upstream) && isUnencrypted(upstream.url))
    .map(([host, { url }]) => `upstreams.${host}: credentials go to ${url} by plain HTTP`);
}

function isUnencrypted(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !LOOPBACK.test(hostname);
}
