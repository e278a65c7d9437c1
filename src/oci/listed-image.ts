import { formatFullName, parseFullName, type FullName } from './image-name.ts';
import { formatPlatform, type Platform } from './platform.ts';

/** An image as a list, a lock or a command names it, and for whom it is wanted. All of it is JSON. */
export interface ListedImage extends FullName {
  /** Empty: it is not said. */
  readonly platforms: readonly Platform[];
}

/** The image that `text` names, for no platform in particular; undefined if it names none. */
export function parseListedImage(text: string): ListedImage | undefined {
  const name = parseFullName(text);
  return name === undefined ? undefined : { ...name, platforms: [] };
}

/** One line that no other image has: its name in order, then what else tells it apart. */
export function listedImageKey(image: ListedImage): string {
  const platforms = image.platforms.map(formatPlatform);
  return [formatFullName(image), ...platforms].join(' ');
}
