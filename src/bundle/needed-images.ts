import { parseImageName } from '../oci/image-name.ts';
import type { ListedImage } from '../oci/listed-image.ts';
import { parsePlatform } from '../oci/platform.ts';
import { quoted } from './list-error.ts';

/** An image that a file needs, and where in it: `compose.yaml:12`. */
export interface NeededImage {
  readonly image: ListedImage;
  readonly place: string;
}

/** One service of a Compose file, for a platform if whoever extends it says so. */
export interface ServiceChoice {
  readonly name: string;
  readonly platform: string | undefined;
}

/** Another file that is part of one. */
export interface FurtherFile {
  /** From the folder of the file that names it. */
  readonly path: string;
  /** `compose.yaml:12` */
  readonly place: string;
  /** Undefined: all of it. */
  readonly service: ServiceChoice | undefined;
}

/** What a file needs of images. */
export interface ImageSource {
  readonly images: readonly NeededImage[];
  /** A sentence each, with file and line: what could not be told, so that an image may be missing. */
  readonly problems: readonly string[];
  readonly further: readonly FurtherFile[];
}

/** Collects what a file needs while it is being read. */
export class NeededImages implements ImageSource {
  readonly images: NeededImage[] = [];
  readonly problems: string[] = [];
  readonly further: FurtherFile[] = [];
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** An image by the name that clients pull it by: of a tag and a digest the digest counts. */
  add(line: number, name: string, platform?: string): void {
    const parsed = parseImageName(name);
    const platforms = platform === undefined ? [] : [parsePlatform(platform)];
    const [wanted] = platforms;
    if (parsed === undefined) this.problem(line, `${quoted(name)} is not the name of an image`);
    else if (platform !== undefined && wanted === undefined) {
      this.problem(line, `${quoted(platform)} is not a platform`);
    } else {
      const { repository, reference } = parsed;
      const named = reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest };
      const image = { repository, ...named, platforms: wanted === undefined ? [] : [wanted] };
      this.images.push({ image, place: `${this.#path}:${line}` });
    }
  }

  goesOn(line: number, path: string, service?: ServiceChoice): void {
    // Compose takes them from repositories, too.
    if (path.includes('://') || path.startsWith('git@')) {
      this.problem(line, `${quoted(path)} is not looked into: name what it needs in a list, too`);
    } else this.further.push({ path, place: `${this.#path}:${line}`, service });
  }

  problem(line: number, message: string): void {
    this.problems.push(`${this.#path}:${line}: ${message}`);
  }
}
