import { formatFullName, parseImageName, type ListedImage } from '../oci/image-name.ts';
import { formatPlatform, parsePlatform, type Platform } from '../oci/platform.ts';

/** A file with images is not valid; `message` names file, line and reason. */
export class ListError extends Error {
  override readonly name = 'ListError';
  readonly code = 'list-invalid';
}

const MAX_QUOTED_LENGTH = 80;

/** `text` in quotes for a message of one line, cut if it is long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text);
}

/** An image that a file needs. */
export interface NeededImage {
  readonly image: ListedImage;
  /** File and line: `compose.yaml:12`. */
  readonly place: string;
  /** The name in the file, with variables replaced. */
  readonly spelling: string;
  /** The name holds a variable of the platform, so the image is pulled only for the platforms of `image`. */
  readonly isMadeForPlatform: boolean;
}

/** An image of a list. */
export function listedAt(image: ListedImage, place: string): NeededImage {
  return { image, place, spelling: formatFullName(image), isMadeForPlatform: false };
}

/** Values that a file does not hold itself. */
export interface SourceContext {
  /** Values of the variables in a Compose file. */
  readonly variables: (name: string) => string | undefined;
  /** The name of the folder: Compose names the project after it. */
  readonly folder: string;
  /** `--build-arg`. */
  readonly buildArgs: ReadonlyMap<string, string>;
  /** The platforms of builds: one build for each. */
  readonly platforms: readonly Platform[];
}

/** One service of a Compose file. `platform` is that of the service that extends it. */
export interface ServiceChoice {
  readonly name: string;
  readonly platform: string | undefined;
}

/** A file that another file includes. */
export interface FurtherFile {
  /** Relative to the folder of the including file. */
  readonly path: string;
  /** `compose.yaml:12` */
  readonly place: string;
  /** Undefined: all services. */
  readonly service?: ServiceChoice | undefined;
  /** Changes to the names of its images. */
  readonly changes?: readonly ImageChange[];
}

/** An entry of `images` in a kustomization. */
export interface ImageChange {
  readonly name: string;
  readonly newName?: string | undefined;
  readonly newTag?: string | undefined;
  readonly digest?: string | undefined;
}

/** The images that a file needs. */
export interface ImageSource {
  readonly images: readonly NeededImage[];
  /** Parts that could not be read, so `images` may lack an image. Sentences with file and line. */
  readonly problems: readonly string[];
  /** Parts that can be read in several ways, and how they were read. Sentences with file and line. */
  readonly notes: readonly string[];
  readonly further: readonly FurtherFile[];
}

interface Value {
  readonly line: number;
  /** Undefined: the value is not a text. */
  readonly text: string | undefined;
}

/** How an image is needed. */
export interface NeededHow {
  readonly platform?: string | undefined;
  /** Unset variables in the name and the platform; each was replaced by nothing. */
  readonly unset?: readonly string[];
  readonly isMadeForPlatform?: boolean;
}

/** Collects the images of a file, without duplicates. */
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

  /** Adds an image. If the name has a tag and a digest, the digest counts. */
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

  addFile(line: number, path: string, how: Pick<FurtherFile, 'service' | 'changes'> = {}): void {
    // Compose and Kustomize accept URLs too.
    if (/:\/\/|^git@|[^:]\/\/|[?&]ref=/.test(path)) {
      this.problem(line, `${quoted(path)} is not read; name its images in a list`);
    } else this.further.push({ path, place: this.#place(line), ...how });
  }

  problem(line: number, message: string): void {
    this.#problems.add(`${this.#place(line)}: ${message}`);
  }

  note(line: number, message: string): void {
    this.#notes.add(`${this.#place(line)}: ${message}`);
  }

  /** Adds a note for each value that looks like an image. */
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

/** A tag or a digest, and a registry, a path or a number in the tag: `redis:7`, but not `localhost:80`. */
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
