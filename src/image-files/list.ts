import { compileGlob } from '../lib/glob.ts';
import { parseListedImage, type ListedImage, formatRepositoryName } from '../oci/image-name.ts';
export type { ListedImage } from '../oci/image-name.ts';
import { parsePlatform, PLATFORM_FORM, type Platform } from '../oci/platform.ts';
import { DOCKER_HUB, registryPattern, repositoryKey, type Repository } from '../oci/reference.ts';
import { isLockFile, parseLockFile } from './lock.ts';
import { ListError, quoted } from './needed.ts';

const IMAGE_FORM = 'such as golang:1.22, ghcr.io/org/app@sha256:… or golang:1.22@sha256:…';

/**
 * The images of a lock, or of lines of `name[:tag][@digest] [platform,…]` with `#` comments. `path` is for messages. Throws
 * ListError, which names file and line.
 */
export function parseImageList(path: string, text: string): ListedImage[] {
  if (isLockFile(text)) return parseLockFile(path, text);
  return text.split(/\r?\n/).flatMap((line, at) => parseLine(line, `${path}:${at + 1}`));
}

/** The images in the arguments of a command. Throws ListError. */
export function parseImageWords(words: readonly string[]): ListedImage[] {
  return words.map((word) => {
    const image = parseListedImage(word);
    if (image === undefined) throw new ListError(`${quoted(word)} is not the name of an image`);
    return image;
  });
}

function parseLine(line: string, place: string): ListedImage[] {
  // A comment starts the line, or follows a blank.
  const words = line
    .replace(/(^|\s)#.*$/s, '')
    .trim()
    .split(/\s+/);
  const [name = '', ...rest] = words;
  if (name === '') return [];
  const image = parseListedImage(name);
  if (image === undefined) {
    throw new ListError(`${place}: ${quoted(name)} is not the name of an image, ${IMAGE_FORM}`);
  }
  return [{ ...image, platforms: rest.flatMap((word) => parsePlatforms(word, place)) }];
}

function parsePlatforms(words: string, place: string): Platform[] {
  return words
    .split(',')
    .filter((word) => word !== '')
    .map((word) => {
      const platform = parsePlatform(word);
      if (platform !== undefined) return platform;
      throw new ListError(`${place}: ${quoted(word)} is not a platform; allowed: ${PLATFORM_FORM}`);
    });
}

/**
 * A test for images by name, `*` within a path component and `**` for anything: `golang`, `bitnami/*`,
 * `ghcr.io/org/**`, `library/*`, `docker.io/library/*`, `golang:1.*`.
 */
export function imagePattern(pattern: string): (repository: Repository, tag: string | undefined) => boolean {
  const matches = compileGlob(registryPattern(pattern));
  return function fits(repository, tag) {
    const { host, name: whole } = repository;
    const names = [formatRepositoryName(repository), repositoryKey(repository)];
    if (host === DOCKER_HUB) names.push(whole);
    return names.some((name) => matches(name) || (tag !== undefined && matches(`${name}:${tag}`)));
  };
}
