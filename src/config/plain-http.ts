import type { Settings, UpstreamSettings } from './settings.ts';

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/** A sentence for each upstream whose credentials anybody on the way can read. */
export function plainHttpWarnings({ upstreams }: Settings): string[] {
  return Object.entries(upstreams)
    .filter(([, upstream]) => hasCredentials(upstream) && isOpen(upstream.url))
    .map(([host, { url }]) => `upstreams.${host} sends its credentials to ${url} by plain HTTP`);
}

function hasCredentials(upstream: UpstreamSettings): boolean {
  const { username, token, tokenFile, credentialHelper, dockerConfig, identities } = upstream;
  const logins = [username, token, tokenFile, credentialHelper, dockerConfig];
  return identities.length > 0 || logins.some((login) => login !== undefined);
}

function isOpen(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !LOOPBACK.test(hostname);
}
