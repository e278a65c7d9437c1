import { parseDigest } from './digest.ts';
import { DOCKER_HUB, isRepositoryName, isTag, type Reference, type Repository } from './reference.ts';

/** What people call an image: `golang`, `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
export interface ImageName {
  readonly repository: Repository;
  readonly reference: Reference;
}

const DEFAULT_TAG = 'latest';
const HOST = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;

/**
 * The image that `text` names, as Docker reads it, or undefined if it names none: a first component with a dot or a
 * colon, or `localhost`, is a host; without one it is Docker Hub's, where a single component is short for `library/…`;
 * without a tag or digest it is `latest`; with both, the digest counts (distribution/reference, "Grammar").
 */
export function parseImageName(text: string): ImageName | undefined {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  if (at >= 0 && digest === undefined) return undefined;
  const [, name = '', tag] = /^(.*?)(?::([^:/]*))?$/.exec(at < 0 ? text : text.slice(0, at)) ?? [];
  if (tag !== undefined && !isTag(tag)) return undefined;
  const repository = repositoryOf(name);
  if (repository === undefined) return undefined;
  const reference: Reference =
    digest === undefined ? { kind: 'tag', tag: tag ?? DEFAULT_TAG } : { kind: 'digest', digest };
  return { repository, reference };
}

/** As short as `parseImageName` reads it: `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
export function formatImageName({ repository, reference }: ImageName): string {
  const { host, name } = repository;
  const short = name.startsWith('library/') && name.lastIndexOf('/') === 7 ? name.slice(8) : name;
  const path = host === DOCKER_HUB ? short : `${host}/${name}`;
  return reference.kind === 'tag' ? `${path}:${reference.tag}` : `${path}@${reference.digest}`;
}

function repositoryOf(name: string): Repository | undefined {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost';
  const host = isHost ? first.toLowerCase() : DOCKER_HUB;
  const path = isHost ? name.slice(slash + 1) : name;
  if (!HOST.test(host) || !isRepositoryName(path)) return undefined;
  return { host, name: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
}
