import type { LoggedRequest } from './log.ts';

/** The part of a list of tags that a link names: those after the first `offset`, of which `last` is the last. */
export interface TagsLink {
  /** Of the registry: `http://127.0.0.1:5000`. */
  readonly origin: string;
  /** `/v2/<name>/tags/list`. */
  readonly path: string;
  readonly size: number;
  readonly offset: number;
  readonly last: string;
}

export interface TagsWays {
  /** Takes no notice of `n` and `last`: all tags come at once. */
  readonly all?: true;
  /** The longest page. */
  readonly max?: number;
  /** What a wish for a longer page is answered with; without it, by a shorter one. */
  readonly tooMany?: { readonly status: number; readonly code: string; readonly message: string };
  /** The `Link` to the next page. */
  readonly link?: (next: TagsLink) => string;
  /** The number of tags before the page that a query names. */
  readonly offset?: (query: URLSearchParams, tags: readonly string[]) => number;
  /** The last page has a link too, to an empty one. */
  readonly linksOn?: true;
}

/** How a registry answers what it does not send itself. */
export interface RedirectWays {
  readonly status: 302 | 307;
  /** To a path of its own, as Google does. Default: to the blob host. */
  readonly toItself?: true;
  /** HEADs of blobs too, although the signature is good for GET alone. */
  readonly heads?: true;
  /** Manifests too; the object store knows neither their types nor their digests. */
  readonly manifests?: true;
  /** `Content-Length` is that of the blob, and no body follows. */
  readonly falseLength?: true;
}

/** How a registry differs from Docker Hub, as far as clients that pull can tell. What is left out is as there. */
export interface RegistryWays {
  /** `WWW-Authenticate`. */
  readonly challenge?: (realm: string, request: LoggedRequest) => string;
  /** What a token must allow to list tags. */
  readonly listAction?: 'metadata_read';
  /** The fields of a token service's answer. */
  readonly tokenFields?: readonly string[];
  /** What the token service says to those without credentials who may not pull; default: a token that is good for nothing. */
  readonly anonymousRefusal?: number;
  readonly redirect?: RedirectWays;
  readonly tags?: TagsWays;
  /** What is said of a tag that does not exist. */
  readonly missing?: { readonly status: number; readonly code: string; readonly message: string };
  /** `Content-Length` of a HEAD of a manifest. */
  readonly headLength?: '0';
  /** A tag that looks like a digest with a dash is taken for the digest. */
  readonly dashedDigests?: true;
  /** All but the ping is redirected to another registry, under this path there, without its query. */
  readonly frontOf?: string;
}

export const HUB_CHALLENGE = (realm: string, { repository }: Pick<LoggedRequest, 'repository'>): string =>
  bearerChallenge(realm, 'registry.docker.io', repository);

export function bearerChallenge(
  realm: string,
  service: string,
  repository: string | undefined,
  action = 'pull',
): string {
  const scope = repository === undefined ? '' : `,scope="repository:${repository}:${action}"`;
  return `Bearer realm="${realm}",service="${service}"${scope}`;
}

/** What a token must hold for a request; undefined: nothing in particular. */
export function listGrant({ kind, repository }: LoggedRequest, ways: RegistryWays): string | undefined {
  if (repository === undefined || kind !== 'tags' || ways.listAction === undefined) return repository;
  return `${repository}:${ways.listAction}`;
}
