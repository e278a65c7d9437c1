import { formatFullName, parseFullName, type FullName } from './image-name.ts';
import { formatPlatform, parsePlatform, type Platform } from './platform.ts';

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
