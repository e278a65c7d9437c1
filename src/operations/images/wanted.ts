import { formatFullName, parseListedImage, type ListedImage } from '../../oci/image-name.ts';
import { formatPlatform, parsePlatform, PLATFORM_FORM, type Platform } from '../../oci/platform.ts';
import { OperationError, type ImagesRequest } from '../protocol.ts';

/** An image of a request. */
export interface WantedImage {
  /** As the request names it. */
  readonly name: string;
  readonly image: ListedImage;
  /** Empty: all platforms. */
  readonly platforms: readonly Platform[];
}

const ALL = 'all';

/**
 * The images of a request, each once. Platforms are those of the image's line, else of the request, else `usual`. Throws
 * OperationError `usage`.
 */
export function wantedImages(request: ImagesRequest, usual: readonly Platform[]): WantedImage[] {
  const asked = request.platforms === undefined ? undefined : parsePlatforms(request.platforms);
  const wanted = new Map<string, WantedImage>();
  for (const line of request.images) {
    const image = parseListedImage(line);
    if (image === undefined)
      throw new OperationError('usage', `${JSON.stringify(line)} is not the name of an image`);
    const name = formatFullName(image);
    const platforms = image.platforms.length > 0 ? image.platforms : (asked ?? usual);
    wanted.set(name, {
      name,
      image,
      platforms: together(wanted.get(name)?.platforms ?? platforms, platforms),
    });
  }
  return [...wanted.values()];
}

/** For people. */
export function platformNames(platforms: readonly Platform[]): string[] {
  return platforms.length === 0 ? [ALL] : platforms.map(formatPlatform);
}

function parsePlatforms(texts: readonly string[]): Platform[] {
  if (texts.includes(ALL)) return [];
  return texts.map((text) => {
    const platform = parsePlatform(text);
    if (platform !== undefined) return platform;
    const message = `${JSON.stringify(text)} is not a platform; allowed: ${ALL}, ${PLATFORM_FORM}`;
    throw new OperationError('usage', message);
  });
}

/** An empty list means all platforms, so with one empty list the result is empty. */
function together(a: readonly Platform[], b: readonly Platform[]): Platform[] {
  if (a.length === 0 || b.length === 0) return [];
  return [...new Map([...a, ...b].map((platform) => [formatPlatform(platform), platform])).values()];
}
