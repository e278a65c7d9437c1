import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  stringify,
  type Document,
  type YAMLMap,
} from 'yaml';
import { parseDigest, type Digest } from '../oci/digest.ts';
import {
  formatRepositoryName,
  parseRepositoryName,
  formatListedImage,
  type ListedImage,
} from '../oci/image-name.ts';
import { formatPlatform, parsePlatform, PLATFORM_FORM, type Platform } from '../oci/platform.ts';
import { isTag, repositoryKey, type Repository } from '../oci/reference.ts';
import { ListError, quoted } from './needed.ts';

const VERSION = 1;

const HEAD = `# Images by digest, written by \`pierhead lock\`. \`pierhead warm -f\` downloads them into a cache.
`;

/** Whether a file is a lock: a list of names does not begin with a key. */
export function isLockFile(text: string): boolean {
  const first = text.split('\n').find((line) => !/^\s*(#|$)/.test(line));
  return first !== undefined && /^(version|images)\s*:(\s|$)|^(---|%YAML)/.test(first);
}

/**
 * The text of a lock, sorted and with one item a line, so that a diff of two locks is short. The order of `images` does not
 * change the bytes.
 */
export function renderLockFile(images: readonly ListedImage[]): string {
  const entries = [...new Map(images.map(entryOf)).entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  const document = { version: VERSION, images: entries.map(([, entry]) => entry) };
  return `${HEAD}${stringify(document, { lineWidth: 0 })}`;
}

function entryOf(image: ListedImage): [key: string, entry: object] {
  const { repository, tag, digest } = image;
  const platforms = [...new Set(image.platforms.map(formatPlatform))].sort();
  const entry = {
    image: formatRepositoryName(repository),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
    ...(platforms.length === 0 ? {} : { platforms }),
  };
  return [`${formatListedImage({ ...image, platforms: [] })} ${platforms.join(' ')}`, entry];
}

/** Reads a lock. `path` is for messages. Throws ListError, which names file and line. */
export function parseLockFile(path: string, text: string): ListedImage[] {
  return new LockFile(path, text).images();
}

const KEYS: ReadonlySet<string> = new Set(['image', 'tag', 'digest', 'platforms']);

class LockFile {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document: Document;

  constructor(path: string, text: string) {
    this.#path = path;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const [error] = this.#document.errors;
    if (error !== undefined) throw this.#error(error.pos[0], `this is not valid YAML: ${error.message}`);
  }

  images(): ListedImage[] {
    const { contents } = this.#document;
    if (!isMap(contents)) throw this.#error(0, 'a lock must be a map of version and images');
    this.#requireVersion(contents.get('version', true));
    const images = contents.get('images', true);
    if (images === undefined || (isScalar(images) && images.value === null)) return [];
    if (!isSeq(images)) throw this.#error(this.#at(images), 'images must be a list');
    return images.items.map((item) => this.#image(item));
  }

  #requireVersion(node: unknown): void {
    if (isScalar(node) && node.value === VERSION) return;
    const what = node === undefined ? 'the version is missing' : `version ${quoted(textOf(node) ?? '')}`;
    throw this.#error(this.#at(node), `${what}; this Pierhead reads version ${VERSION}`);
  }

  #image(item: unknown): ListedImage {
    if (!isMap(item))
      throw this.#error(this.#at(item), 'an image must be a map of image, tag, digest and platforms');
    for (const { key } of item.items) {
      const name = isScalar(key) ? String(key.value) : '';
      if (!KEYS.has(name)) throw this.#error(this.#at(key), `unknown key ${quoted(name)}`);
    }
    const repository = this.#value(item, 'image', parseRepositoryName);
    const tag = this.#value(item, 'tag', (text) => (isTag(text) ? text : undefined));
    const digest = this.#value(item, 'digest', parseDigest);
    if (repository === undefined) throw this.#error(this.#at(item), 'image is missing');
    if (tag === undefined && digest === undefined)
      throw this.#error(this.#at(item), 'tag or digest is missing');
    return {
      repository,
      ...(tag === undefined ? {} : { tag }),
      ...(digest === undefined ? {} : { digest }),
      platforms: this.#platforms(item),
    };
  }

  /** Reads the source text: the tag 1.20 must not become the number 1.2. */
  #value<T>(item: YAMLMap, key: string, parse: (text: string) => T | undefined): T | undefined {
    const node = item.get(key, true);
    if (node === undefined) return undefined;
    const text = textOf(node);
    const value = text === undefined ? undefined : parse(text);
    if (value === undefined) throw this.#error(this.#at(node), `${quoted(text ?? '')} is not a valid ${key}`);
    return value;
  }

  #platforms(item: YAMLMap): ListedImage['platforms'] {
    const node = item.get('platforms', true);
    if (node === undefined) return [];
    if (!isSeq(node)) throw this.#error(this.#at(node), 'platforms must be a list');
    return node.items.map((each) => {
      const text = textOf(each) ?? '';
      const platform = parsePlatform(text);
      if (platform !== undefined) return platform;
      throw this.#error(this.#at(each), `${quoted(text)} is not a platform; allowed: ${PLATFORM_FORM}`);
    });
  }

  #at(node: unknown): number {
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
    return Array.isArray(range) ? Number(range[0]) : 0;
  }

  #error(offset: number, message: string): ListError {
    return new ListError(`${this.#path}:${this.#lines.linePos(offset).line}: ${message}`);
  }
}

function textOf(node: unknown): string | undefined {
  return isScalar(node) ? (node.source ?? String(node.value)) : undefined;
}

/** An entry of the history of pulls. */
export interface PulledImage {
  readonly repository: Repository;
  readonly tag?: string | undefined;
  /** The digest that the tag named, or that the client asked for. */
  readonly root: Digest;
  /** The manifest that the client got, if `root` is an index. */
  readonly child?: Digest | undefined;
  readonly platform?: Platform | undefined;
  /** Time of the last pull; ms since the epoch. */
  readonly lastAt: number;
}

interface Group {
  readonly repository: Repository;
  readonly root: Digest;
  readonly platforms: Map<string, Platform>;
  readonly children: Set<Digest>;
}

/**
 * The pulled images for a lock: the last digest of each tag, with its pulled platforms. Earlier digests of a tag, and images
 * that were pulled by digest, have no tag. A manifest that was pulled as part of an index is no image of its own.
 */
export function lockedImages(pulls: readonly PulledImage[]): ListedImage[] {
  const groups = groupsOf(pulls);
  const tagsOf = tagsByRoot(pulls);
  const parts = new Set(
    [...groups.values()].flatMap(({ repository, children }) =>
      [...children].map((child) => groupKey(repository, child)),
    ),
  );
  return [...groups].flatMap(([key, { repository, root, platforms }]) => {
    const image = { repository, digest: root, platforms: sorted(platforms) };
    const tags = tagsOf.get(key) ?? [];
    if (tags.length === 0) return parts.has(key) ? [] : [image];
    return tags.map((tag) => ({ ...image, tag }));
  });
}

function groupsOf(pulls: readonly PulledImage[]): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const { repository, root, child, platform } of pulls) {
    const key = groupKey(repository, root);
    const group = groups.get(key) ?? { repository, root, platforms: new Map(), children: new Set() };
    groups.set(key, group);
    if (child !== undefined) group.children.add(child);
    if (platform !== undefined) group.platforms.set(formatPlatform(platform), platform);
  }
  return groups;
}

/** The tags by the last digest of each. */
function tagsByRoot(pulls: readonly PulledImage[]): Map<string, string[]> {
  const latest = new Map<string, { readonly root: string; readonly tag: string; readonly lastAt: number }>();
  for (const { repository, root, tag, lastAt } of pulls) {
    if (tag === undefined) continue;
    const key = `${repositoryKey(repository)}:${tag}`;
    if ((latest.get(key)?.lastAt ?? -Infinity) > lastAt) continue;
    latest.set(key, { root: groupKey(repository, root), tag, lastAt });
  }
  const tags = new Map<string, string[]>();
  for (const { root, tag } of latest.values()) tags.set(root, [...(tags.get(root) ?? []), tag]);
  return tags;
}

function groupKey(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`;
}

function sorted(platforms: ReadonlyMap<string, Platform>): Platform[] {
  return [...platforms].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, platform]) => platform);
}
