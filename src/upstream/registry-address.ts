/** Where a registry is, and what it calls the repositories that are wanted of it. */
export interface RegistryAddress {
  /** What its breaker asks (OCI distribution-spec, end-1). */
  readonly ping: URL;
  /** The repository as the registry knows it: a Harbor puts the project of a proxy cache before it. */
  readonly nameOf: (repository: string) => string;
  /** Of something in a repository; `path` begins with a slash. */
  readonly urlOf: (repository: string, path: string) => URL;
}

/**
 * The address that a URL in the settings stands for. A path goes before `/v2`, as for containerd, unless it has a `v2`
 * of its own: then what follows that is the beginning of every name (`https://harbor.example/v2/dockerhub`).
 */
export function registryAddress(url: URL): RegistryAddress {
  const path = url.pathname.replace(/\/+$/, '');
  const [, before = path, project = ''] = /^((?:\/[^/]+)*?)\/v2(?:\/(.+))?$/.exec(path) ?? [];
  const base = `${url.origin}${before}/v2/`;
  const nameOf = (repository: string): string => (project === '' ? repository : `${project}/${repository}`);
  return {
    ping: new URL(base),
    nameOf,
    urlOf: (repository, rest) => new URL(`${base}${nameOf(repository)}${rest}`),
  };
}
