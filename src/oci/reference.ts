import { parseDigest, type Digest } from './digest.ts';

/** A repository of one registry: `{ host: 'docker.io', name: 'library/golang' }`. */
export interface Repository {
  readonly host: string;
  readonly name: string;
}

/** A tag or digest: names a manifest inside a repository. */
export type Reference =
  { readonly kind: 'tag'; readonly tag: string } | { readonly kind: 'digest'; readonly digest: Digest };

/** OCI distribution-spec, "Pulling manifests": `<name>` and `<reference>`. */
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const MAX_NAME_LENGTH = 255;

export const DOCKER_HUB = 'docker.io';

/** Other hosts of Docker Hub: in image names (docker/cli, distribution/reference), and where its registry answers. */
export const DOCKER_HUB_ALIASES: readonly string[] = ['index.docker.io', 'registry-1.docker.io'];

/**
 * The registry that `host` means: in lower case; all names of Docker Hub become docker.io. Lower case of ASCII only:
 * the Kelvin sign's lower case is `k`, and answers repeat the name that was asked for.
 */
export function registryHost(host: string): string {
  const lower = host.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
  return DOCKER_HUB_ALIASES.includes(lower) ? DOCKER_HUB : lower;
}

/**
 * A pattern of image or repository names, with its registry normalized. `docker.io/golang` is short for
 * `docker.io/library/golang`. A component that is a wildcard for all names is not extended.
 */
export function registryPattern(pattern: string): string {
  const slash = pattern.indexOf('/');
  if (slash < 0 || registryHost(pattern.slice(0, slash)) !== DOCKER_HUB) return pattern;
  const rest = pattern.slice(slash + 1);
  const isShort = /^(?!\*(?:$|:))[^/]+$/.test(rest) && !rest.includes('**');
  return `${DOCKER_HUB}/${isShort ? 'library/' : ''}${rest}`;
}

export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && NAME.test(text);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** The reference that `text` spells; undefined if it is neither a tag nor a digest that Pierhead can verify. */
export function parseReference(text: string): Reference | undefined {
  const digest = parseDigest(text);
  if (digest !== undefined) return { kind: 'digest', digest };
  return isTag(text) ? { kind: 'tag', tag: text } : undefined;
}

/** The tag or digest as in a URL. */
export function referenceText(reference: Reference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}

/** The key of a repository in stores, logs and metrics: `docker.io/library/golang`. */
export function repositoryKey(repository: Repository): string {
  return `${repository.host}/${repository.name}`;
}

/** Inverse of `repositoryKey`; hosts hold no slash. */
export function parseRepositoryKey(key: string): Repository {
  const slash = key.indexOf('/');
  return { host: key.slice(0, slash), name: key.slice(slash + 1) };
}
