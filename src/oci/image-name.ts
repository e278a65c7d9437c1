import { parseDigest, type Digest } from './digest.ts';
import { isComplete, formatPlatform, parsePlatform, type Platform } from './platform.ts';
import {
  DOCKER_HUB,
  isRepositoryName,
  isTag,
  registryHost,
  type Reference,
  type Repository,
} from './reference.ts';

/** The name of an image: `golang`, `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
export interface ImageName {
  readonly repository: Repository;
  readonly reference: Reference;
}

/** A name that can have a tag and a digest, and has at least one. */
export interface FullName {
  readonly repository: Repository;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

const DEFAULT_TAG = 'latest';
const HOST = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;

/**
 * The image that `text` names, or undefined. The rules are Docker's (distribution/reference, "Grammar"):
 * - A first component with a dot or a colon, or `localhost`, is a host. All names of Docker Hub mean docker.io.
 * - Without a host the image is on Docker Hub, where a single component is short for `library/…`.
 * - Without tag and digest the tag is `latest`; with both, the digest counts.
 */
export function parseImageName(text: string): ImageName | undefined {
  const full = parseFullName(text);
  if (full === undefined) return undefined;
  const { repository, tag = DEFAULT_TAG, digest } = full;
  return { repository, reference: digest === undefined ? { kind: 'tag', tag } : { kind: 'digest', digest } };
}

/** As `parseImageName`, but keeps tag and digest if both are named: `golang:1.22@sha256:…`. */
export function parseFullName(text: string): FullName | undefined {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  if (at >= 0 && digest === undefined) return undefined;
  const [, name = '', tag] = /^(.*?)(?::([^:/]*))?$/.exec(at < 0 ? text : text.slice(0, at)) ?? [];
  if (tag !== undefined && !isTag(tag)) return undefined;
  const repository = parseRepositoryName(name);
  if (repository === undefined) return undefined;
  return { repository, tag: digest === undefined ? (tag ?? DEFAULT_TAG) : tag, digest };
}

/** The shortest text that `parseImageName` reads: `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
export function formatImageName({ repository, reference }: ImageName): string {
  return formatFullName(
    reference.kind === 'tag' ? { repository, tag: reference.tag } : { repository, digest: reference.digest },
  );
}

/** The shortest text that `parseFullName` reads: `golang:1.22@sha256:…`. */
export function formatFullName({ repository, tag, digest }: FullName): string {
  const suffix = (separator: string, part: string | undefined): string =>
    part === undefined ? '' : `${separator}${part}`;
  return `${formatRepositoryName(repository)}${suffix(':', tag)}${suffix('@', digest)}`;
}

/** The shortest text that `parseRepositoryName` reads: `golang`, `ghcr.io/org/app`. */
export function formatRepositoryName({ host, name }: Repository): string {
  if (host !== DOCKER_HUB) return `${host}/${name}`;
  return name.startsWith('library/') && name.lastIndexOf('/') === 7 ? name.slice(8) : name;
}

/** The repository of a name without a tag, or undefined if it is malformed. */
export function parseRepositoryName(name: string): Repository | undefined {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost';
  const host = isHost ? registryHost(first) : DOCKER_HUB;
  const path = isHost ? name.slice(slash + 1) : name;
  if (!HOST.test(host) || !isRepositoryName(path)) return undefined;
  return { host, name: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
}

/** An image in a list, a lock or a command, with its platforms. All of it is JSON. */
export interface ListedImage extends FullName {
  /** Empty: none are named. */
  readonly platforms: readonly Platform[];
}

/** An image and its platforms in one line: `golang:1.22@sha256:… linux/amd64,linux/arm64`. */
export function formatListedImage({ platforms, ...name }: ListedImage): string {
  const words = [formatFullName(name), platforms.map(formatPlatform).join(',')];
  return words.filter((word) => word !== '').join(' ');
}

/** Inverse of `formatListedImage`; undefined if the line is malformed. */
export function parseListedImage(line: string): ListedImage | undefined {
  const [first = '', ...rest] = line.split(/[\s,]+/);
  const name = parseFullName(first);
  const platforms = rest.map(parsePlatform);
  if (name === undefined || !isComplete(platforms)) return undefined;
  return { ...name, platforms };
}
