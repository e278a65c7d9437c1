/**
 * Registries whose token service is on another host, from the challenges that they send. Exact names: many owners
 * share domains such as azurecr.io and amazonaws.com, and no list of public suffixes has all of these.
 */
const TOKEN_HOSTS: ReadonlyMap<string, string> = new Map([
  ['registry-1.docker.io', 'auth.docker.io'],
  ['index.docker.io', 'auth.docker.io'],
  ['lscr.io', 'ghcr.io'],
  ['registry.gitlab.com', 'gitlab.com'],
  // nvcr.io first names itself, then this host to a client whose token has expired.
  ['nvcr.io', 'authn.nvidia.com'],
  ['docker.elastic.co', 'docker-auth.elastic.co'],
  ['registry.digitalocean.com', 'api.digitalocean.com'],
  ['rg.fr-par.scw.cloud', 'api.scaleway.com'],
  ['rg.nl-ams.scw.cloud', 'api.scaleway.com'],
  ['rg.pl-waw.scw.cloud', 'api.scaleway.com'],
]);

/**
 * True if `other` may get the credentials of `registry`: the same host at any port (certificates name hosts, not
 * ports), its known token service, or a host in `named`, with or without a port. Credentials of an https registry
 * never go to http.
 */
export function mayHaveCredentials(registry: URL, other: URL, named: readonly string[]): boolean {
  if (registry.protocol === 'https:' && other.protocol !== 'https:') return false;
  const { hostname } = other;
  if (hostname === registry.hostname || hostname === TOKEN_HOSTS.get(registry.hostname)) return true;
  // `URL` drops the default port of its scheme.
  const port = other.port || (other.protocol === 'https:' ? '443' : '80');
  return named.includes(hostname) || named.includes(`${hostname}:${port}`);
}
