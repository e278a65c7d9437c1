import { formatFullName, parseImageName, type ListedImage } from '../oci/image-name.ts';
import { formatPlatform, parsePlatform, type Platform } from '../oci/platform.ts';

/** A file that is to name images cannot be read as such; `message` says which, where and why. */
export class ListError extends Error {
  override readonly name = 'ListError';
  readonly code = 'list-invalid';
}

const MAX_QUOTED_LENGTH = 80;

/** `text` in quotes for a message of one line, cut if it is long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text);
}

/** An image that a file needs, and where in it: `compose.yaml:12`. */
export interface NeededImage {
  readonly image: ListedImage;
  readonly place: string;
  /** As the file spells it, variables replaced. */
  readonly spelling: string;
  /** The name was made for the platforms of `image`: it is pulled for no others. */
  readonly isMadeForPlatform: boolean;
}

/** An image as a list names it. */
export function listedAt(image: ListedImage, place: string): NeededImage {
  return { image, place, spelling: formatFullName(image), isMadeForPlatform: false };
}

/** What a build or a Compose project is given from outside. */
export interface SourceContext {
  /** What variables in a Compose file stand for. */
  readonly variables: (name: string) => string | undefined;
  /** The folder of the project, whose name Compose gives to it. */
  readonly folder: string;
  /** `--build-arg` of builders. */
  readonly buildArgs: ReadonlyMap<string, string>;
  /** What is built for: each of them by a build of its own. */
  readonly platforms: readonly Platform[];
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
  readonly service?: ServiceChoice | undefined;
  /** What becomes of the images that it names. */
  readonly changes?: readonly ImageChange[];
}

/** An entry of `images` in a kustomization: what becomes of the images of a name. */
export interface ImageChange {
  readonly name: string;
  readonly newName?: string;
  readonly newTag?: string;
  readonly digest?: string;
}

/** What a file needs of images. */
export interface ImageSource {
  readonly images: readonly NeededImage[];
  /** A sentence each, with file and line: what could not be told, so that an image may be missing. */
  readonly problems: readonly string[];
  /** A sentence each, with file and line: how something was read that can be read in another way. */
  readonly notes: readonly string[];
  readonly further: readonly FurtherFile[];
}

/** A value in a file; undefined: it is no text. */
interface Value {
  readonly line: number;
  readonly text: string | undefined;
}

/** How an image is needed. */
export interface NeededHow {
  readonly platform?: string | undefined;
  /** The variables of its name and platform that are not set and were replaced by nothing. */
  readonly unset?: readonly string[];
  readonly isMadeForPlatform?: boolean;
}

/** Collects what a file needs while it is being read; what is said twice counts once. */
export class NeededImages implements ImageSource {
  readonly images: NeededImage[] = [];
  readonly further: FurtherFile[] = [];
  readonly #problems = new Set<string>();
  readonly #notes = new Set<string>();
  readonly #seen = new Set<string>();
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  get problems(): readonly string[] {
    return [...this.#problems];
  }

  get notes(): readonly string[] {
    return [...this.#notes];
  }

  /** An image by the name that clients pull it by: of a tag and a digest the digest counts. */
  add(line: number, name: string, how: NeededHow = {}): void {
    const { platform, unset = [], isMadeForPlatform = false } = how;
    const without = unset.map((variable) => `${variable} is not set`).join(', ');
    const parsed = parseImageName(name);
    const wanted = platform === undefined ? undefined : parsePlatform(platform);
    if (parsed === undefined) {
      this.problem(line, `${quoted(name)} is not the name of an image${without && ` (${without})`}`);
      return;
    }
    if (platform !== undefined && wanted === undefined) {
      this.problem(line, `${quoted(platform)} is not a platform${without && ` (${without})`}`);
      return;
    }
    if (without !== '') this.note(line, `${without}: read as ${quoted(name)}`);
    const { repository, reference } = parsed;
    const named = reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest };
    const key = JSON.stringify([line, name, wanted === undefined ? '' : formatPlatform(wanted)]);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.images.push({
      image: { repository, ...named, platforms: wanted === undefined ? [] : [wanted] },
      place: this.#place(line),
      spelling: name,
      isMadeForPlatform,
    });
  }

  goesOn(line: number, path: string, how: Pick<FurtherFile, 'service' | 'changes'> = {}): void {
    // Compose and Kustomize take them from elsewhere, too.
    if (/:\/\/|^git@|[^:]\/\/|[?&]ref=/.test(path)) {
      this.problem(line, `${quoted(path)} is not looked into: name what it needs in a list, too`);
    } else this.further.push({ path, place: this.#place(line), ...how });
  }

  problem(line: number, message: string): void {
    this.#problems.add(`${this.#place(line)}: ${message}`);
  }

  note(line: number, message: string): void {
    this.#notes.add(`${this.#place(line)}: ${message}`);
  }

  /** Notes which of these values look like images where nothing says that they are. */
  noteLikenesses(where: string, values: readonly Value[] = []): void {
    for (const { line, text } of values) {
      const value = (text ?? '').replace(/^-{0,2}[\w.-]+=/, '');
      if (looksLikeImage(value))
        this.note(line, `${where}: ${quoted(value)} looks like an image, not checked`);
    }
  }

  #place(line: number): string {
    return `${this.#path}:${line}`;
  }
}

/** A name with a tag or a digest, and a registry, a path or a number in the tag: `redis:7`, and no `localhost:80`. */
function looksLikeImage(text: string): boolean {
  const [, host, path = '', tag, digest] =
    /^(?:((?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?|localhost(?::\d+)?)\/)?([a-z0-9][a-z0-9._/-]*)(?::([\w][\w.-]*))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(
      text,
    ) ?? [];
  if (parseImageName(text) === undefined) return false;
  if (digest !== undefined) return true;
  if (tag === undefined) return host !== undefined && /\.io$|\.dev$|^ghcr|docker|registry/.test(host);
  if (host !== undefined || path.includes('/')) return true;
  // A port is no tag.
  return /^v?\d[\w.-]*[.a-z-]|^\d{1,2}$|^latest$|^stable$|^alpine$/.test(tag);
}
