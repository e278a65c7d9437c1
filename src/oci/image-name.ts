import { parseDigest, type Digest } from './digest.ts';
import { formatPlatform, parsePlatform, type Platform } from './platform.ts';
import {
  DOCKER_HUB,
  isRepositoryName,
  isTag,
  registryHost,
  type Reference,
  type Repository,
} from './reference.ts';

/** What people call an image: `golang`, `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
export interface ImageName {
  readonly repository: Repository;
  readonly reference: Reference;
}

/** A name that can have a tag and a digest; one of them is always there. */
export interface FullName {
  readonly repository: Repository;
  readonly tag?: string;
  readonly digest?: Digest;
}

const DEFAULT_TAG = 'latest';
const HOST = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;

/**
 * The image that `text` names, as Docker reads it, or undefined if it names none: a first component with a dot or a
 * colon, or `localhost`, is a host, Docker Hub's by any of its names; without one it is Docker Hub's, where a single component is short for `library/…`;
 * without a tag or digest it is `latest`; with both, the digest counts (distribution/reference, "Grammar").
 */
export function parseImageName(text: string): ImageName | undefined {
  const full = parseFullName(text);
  if (full === undefined) return undefined;
  const { repository, tag = DEFAULT_TAG, digest } = full;
  return { repository, reference: digest === undefined ? { kind: 'tag', tag } : { kind: 'digest', digest } };
}

/** As `parseImageName`, with both where both are named: `golang:1.22@sha256:…`. */
export function parseFullName(text: string): FullName | undefined {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  if (at >= 0 && digest === undefined) return undefined;
  const [, name = '', tag] = /^(.*?)(?::([^:/]*))?$/.exec(at < 0 ? text : text.slice(0, at)) ?? [];
  if (tag !== undefined && !isTag(tag)) return undefined;
  const repository = parseRepositoryName(name);
  if (repository === undefined) return undefined;
  if (digest === undefined) return { repository, tag: tag ?? DEFAULT_TAG };
  return tag === undefined ? { repository, digest } : { repository, tag, digest };
}

/** As short as `parseImageName` reads it: `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
export function formatImageName({ repository, reference }: ImageName): string {
  return formatFullName(
    reference.kind === 'tag' ? { repository, tag: reference.tag } : { repository, digest: reference.digest },
  );
}

/** As short as `parseFullName` reads it: `golang:1.22@sha256:…`. */
export function formatFullName({ repository, tag, digest }: FullName): string {
  return [
    formatRepositoryName(repository),
    ...(tag === undefined ? [] : [`:${tag}`]),
    ...(digest === undefined ? [] : [`@${digest}`]),
  ].join('');
}

/** As short as `parseRepositoryName` reads it: `golang`, `ghcr.io/org/app`. */
export function formatRepositoryName({ host, name }: Repository): string {
  if (host !== DOCKER_HUB) return `${host}/${name}`;
  return name.startsWith('library/') && name.lastIndexOf('/') === 7 ? name.slice(8) : name;
}

/** The repository that a name without a tag means, or undefined if it means none. */
export function parseRepositoryName(name: string): Repository | undefined {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost';
  const host = isHost ? registryHost(first) : DOCKER_HUB;
  const path = isHost ? name.slice(slash + 1) : name;
  if (!HOST.test(host) || !isRepositoryName(path)) return undefined;
  return { host, name: host === DOCKER_HUB && !path.includes('/') ? `library/${path}` : path };
}

/** An image as a list, a lock or a command names it, and for whom it is wanted. All of it is JSON. */
export interface ListedImage extends FullName {
  /** Empty: it is not said. */
  readonly platforms: readonly Platform[];
}

/** An image and its platforms in one line: `golang:1.22@sha256:… linux/amd64,linux/arm64`. */
export function formatListedImage({ platforms, ...name }: ListedImage): string {
  const words = [formatFullName(name), platforms.map(formatPlatform).join(',')];
  return words.filter((word) => word !== '').join(' ');
}

/** The image that such a line names; undefined if it names none. */
export function parseListedImage(line: string): ListedImage | undefined {
  const [first = '', ...rest] = line.split(/[\s,]+/);
  const name = parseFullName(first);
  const platforms = rest.map(parsePlatform);
  if (name === undefined || !isComplete(platforms)) return undefined;
  return { ...name, platforms };
}

function isComplete(platforms: readonly (Platform | undefined)[]): platforms is Platform[] {
  return !platforms.includes(undefined);
}
