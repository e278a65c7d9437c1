/**
 * Registries whose token service is at another host, by the challenges that they send. Exact names: many owners share
 * domains such as azurecr.io and amazonaws.com, and no list of public suffixes holds all of these.
 */
const TOKEN_HOSTS: ReadonlyMap<string, string> = new Map([
  ['registry-1.docker.io', 'auth.docker.io'],
  ['index.docker.io', 'auth.docker.io'],
  ['lscr.io', 'ghcr.io'],
  ['registry.gitlab.com', 'gitlab.com'],
  // First it names itself, then this host to a client whose token has expired.
  ['nvcr.io', 'authn.nvidia.com'],
  ['docker.elastic.co', 'docker-auth.elastic.co'],
  ['registry.digitalocean.com', 'api.digitalocean.com'],
  ['rg.fr-par.scw.cloud', 'api.scaleway.com'],
  ['rg.nl-ams.scw.cloud', 'api.scaleway.com'],
  ['rg.pl-waw.scw.cloud', 'api.scaleway.com'],
]);

/**
 * Whether `other` may get the credentials for `registry`: the same host at any port, since certificates name hosts and
 * not ports; its public token service; a host that `named` holds, with its port or without one. What goes to the
 * registry by https goes to nobody by http.
 */
export function mayHaveCredentials(registry: URL, other: URL, named: readonly string[]): boolean {
  if (registry.protocol === 'https:' && other.protocol !== 'https:') return false;
  const { hostname } = other;
  if (hostname === registry.hostname || hostname === TOKEN_HOSTS.get(registry.hostname)) return true;
  // A URL does not keep the port that its scheme implies.
  const port = other.port || (other.protocol === 'https:' ? '443' : '80');
  return named.includes(hostname) || named.includes(`${hostname}:${port}`);
}
