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
import { parseDigest } from '../oci/digest.ts';
import { formatRepositoryName, parseRepositoryName } from '../oci/image-name.ts';
import { formatListedImage, type ListedImage } from '../oci/listed-image.ts';
import { formatPlatform, parsePlatform, PLATFORM_FORM } from '../oci/platform.ts';
import { isTag } from '../oci/reference.ts';
import { ListError, quoted } from './list-error.ts';

const VERSION = 1;

const HEAD = `# Images by their exact digests, as \`pierhead lock\` writes them; \`pierhead warm -f\` brings them into a cache.
`;

/** Whether a file is meant to be a lock: no list of names begins with a key. */
export function isLockFile(text: string): boolean {
  const first = text.split('\n').find((line) => !/^\s*(#|$)/.test(line));
  return first !== undefined && /^(version|images)\s*:(\s|$)|^(---|%YAML)/.test(first);
}

/**
 * A lock: sorted, an item per line where there can be several, so that two of them differ in as many lines as there are
 * differences. The same images make the same bytes, in whatever order they come.
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

/** Reads a lock that the user calls `path`. Throws ListError, which names file and line. */
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
    if (!isMap(contents)) throw this.#error(0, 'a lock holds a map of version and images');
    this.#requireVersion(contents.get('version', true));
    const images = contents.get('images', true);
    if (images === undefined || (isScalar(images) && images.value === null)) return [];
    if (!isSeq(images)) throw this.#error(this.#at(images), 'images takes a list');
    return images.items.map((item) => this.#image(item));
  }

  #requireVersion(node: unknown): void {
    if (isScalar(node) && node.value === VERSION) return;
    const what = node === undefined ? 'the version is missing' : `version ${quoted(textOf(node) ?? '')}`;
    throw this.#error(this.#at(node), `${what}; this pierhead reads version ${VERSION}`);
  }

  #image(item: unknown): ListedImage {
    if (!isMap(item))
      throw this.#error(this.#at(item), 'an image is a map of image, tag, digest and platforms');
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

  /** Texts as they are spelt: a tag 1.20 is no number. */
  #value<T>(item: YAMLMap, key: string, parse: (text: string) => T | undefined): T | undefined {
    const node = item.get(key, true);
    if (node === undefined) return undefined;
    const text = textOf(node);
    const value = text === undefined ? undefined : parse(text);
    if (value === undefined) throw this.#error(this.#at(node), `${quoted(text ?? '')} cannot be the ${key}`);
    return value;
  }

  #platforms(item: YAMLMap): ListedImage['platforms'] {
    const node = item.get('platforms', true);
    if (node === undefined) return [];
    if (!isSeq(node)) throw this.#error(this.#at(node), 'platforms takes a list');
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
