import type { KeyObject } from 'node:crypto';
import { digestMatches, type Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, manifestOf, type Manifest } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import { parseBundleIndex, type BundledImage } from './bundle-index.ts';
import {
  parseBundleContents,
  type BundledBlob,
  type BundleContents,
  blobName,
  FILES,
  LAYOUT,
} from './contents.ts';
import { BundleError } from './error.ts';
import { isSignedBy } from './signature.ts';
import { TarReader } from './tar-reader.ts';
import type { TarEntry } from './tar.ts';

/** What is read into memory before anything is known to be right. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** Of all manifests together: some hundred thousand. */
const MAX_MANIFESTS_BYTES = 512 * 1024 * 1024;

/** `unchecked`: something is there that may be one of anybody, or of nobody. */
export type SignatureState = 'none' | 'unchecked' | 'verified';

/** All that a bundle says before its first blob. Everything was verified. */
export interface BundleHead {
  readonly images: readonly BundledImage[];
  readonly contents: BundleContents;
  readonly signature: SignatureState;
}

export interface ReferrersList {
  readonly repository: Repository;
  readonly subject: Digest;
  readonly bytes: Buffer;
}

/**
 * A bundle as it comes: `head`, then `manifests`, then `blobs`, each to its end. All throw BundleError, and what the
 * stream throws.
 */
export class BundleReader {
  readonly #tar: TarReader;
  readonly #keys: readonly KeyObject[];
  #contents: BundleContents = { manifests: [], referrers: [], blobs: [], base: [], docker: undefined };

  /** `keys`: it must be signed by all of them. */
  constructor(stream: AsyncIterable<Buffer>, keys: readonly KeyObject[]) {
    this.#tar = new TarReader(stream);
    this.#keys = keys;
  }

  async head(): Promise<BundleHead> {
    const first = await this.#first();
    if (first?.name !== FILES.layout) {
      const what =
        first === undefined ? 'an empty archive' : `an archive that begins with ${shown(first.name)}`;
      throw new BundleError('not-a-bundle', `this is ${what} and not the beginning of a bundle`);
    }
    if (!(await this.#whole()).equals(LAYOUT)) {
      throw new BundleError('not-a-bundle', 'this is an image layout of another version');
    }
    this.#require(await this.#tar.next(), FILES.index);
    const index = await this.#whole();
    let entry = await this.#tar.next();
    const isSigned = entry?.name === FILES.signature;
    const signature = isSigned ? await this.#whole() : undefined;
    if (isSigned) entry = await this.#tar.next();
    // First of all: what nobody has signed is not even looked into.
    this.#verify(index, signature);
    const { images, contents: digest } = parseBundleIndex(index);
    this.#require(entry, FILES.contents);
    const contents = parseBundleContents(await this.#right(FILES.contents, digest));
    this.#contents = contents;
    if (contents.docker !== undefined) {
      this.#require(await this.#tar.next(), FILES.docker);
      await this.#right(FILES.docker, contents.docker);
    }
    return { images, contents, signature: this.#stateOf(signature) };
  }

  async manifests(): Promise<{
    readonly manifests: ReadonlyMap<Digest, Manifest>;
    readonly referrers: readonly ReferrersList[];
  }> {
    const { manifests, referrers } = this.#contents;
    const lists = new Map(referrers.map(({ list }) => [list.digest, list]));
    const total = [...manifests, ...lists.values()].reduce((sum, { size }) => sum + size, 0);
    if (total > MAX_MANIFESTS_BYTES) throw new BundleError('corrupt', `its manifests have ${total} bytes`);
    const read = new Map<Digest, Manifest>();
    for (const { digest, mediaType, size } of manifests) {
      read.set(digest, manifestOf({ digest, mediaType, bytes: await this.#blob({ digest, size }) }));
    }
    const bytes = new Map<Digest, Buffer>();
    for (const list of lists.values()) bytes.set(list.digest, await this.#blob(list));
    return {
      manifests: read,
      referrers: referrers.map(({ repository, subject, list }) => ({
        repository,
        subject,
        bytes: bytes.get(list.digest) ?? Buffer.alloc(0),
      })),
    };
  }

  /** Each blob with its bytes, which the caller verifies; at the end the archive is at its end too. */
  async *blobs(): AsyncGenerator<BundledBlob & { readonly chunks: () => AsyncIterable<Buffer> }, void> {
    for (const blob of this.#contents.blobs) {
      await this.#next(blob);
      yield { ...blob, chunks: () => this.#tar.chunks() };
    }
    const more = await this.#tar.next();
    if (more !== undefined) {
      throw new BundleError('order', `${shown(more.name)} follows what the bundle says that it holds`);
    }
  }

  /** Whatever is no archive at all has no header to begin with. */
  async #first(): Promise<TarEntry | undefined> {
    return this.#tar.next().catch((error: unknown) => {
      if (!(error instanceof BundleError) || error.code !== 'corrupt') throw error;
      throw new BundleError('not-a-bundle', 'this is not the beginning of a bundle', error);
    });
  }

  #stateOf(signature: Buffer | undefined): SignatureState {
    if (signature === undefined) return 'none';
    return this.#keys.length === 0 ? 'unchecked' : 'verified';
  }

  #verify(index: Buffer, signature: Buffer | undefined): void {
    if (this.#keys.length === 0) return;
    if (signature === undefined) throw new BundleError('signature', 'the bundle is not signed');
    if (this.#keys.every((key) => isSignedBy(index, signature, key))) return;
    throw new BundleError(
      'signature',
      'the bundle is signed by another key, or was changed after it was signed',
    );
  }

  async #blob(blob: BundledBlob): Promise<Buffer> {
    // As upstream's are: what is larger, or is parsed for longer, is no manifest.
    if (blob.size > MAX_MANIFEST_BYTES) {
      throw new BundleError('corrupt', `the manifest ${blob.digest} has ${blob.size} bytes`);
    }
    await this.#next(blob);
    return this.#right(blobName(blob.digest), blob.digest);
  }

  async #next({ digest, size }: BundledBlob): Promise<void> {
    const entry = await this.#tar.next();
    this.#require(entry, blobName(digest));
    if (entry?.size === size) return;
    throw new BundleError(
      'corrupt',
      `${digest} has ${entry?.size} bytes in the archive and should have ${size}`,
    );
  }

  async #right(name: string, digest: Digest): Promise<Buffer> {
    const bytes = await this.#whole();
    if (digestMatches(digest, bytes)) return bytes;
    throw new BundleError('corrupt', `${name} was changed: it is not ${digest} any more`);
  }

  async #whole(): Promise<Buffer> {
    const bytes = await this.#tar.whole(MAX_FILE_BYTES);
    if (bytes === undefined) throw new BundleError('corrupt', 'a file that should be small is not');
    return bytes;
  }

  #require(entry: TarEntry | undefined, name: string): void {
    if (entry?.name === name) return;
    if (entry === undefined)
      throw new BundleError('cut-short', `the bundle ends where ${name} should follow`);
    throw new BundleError('order', `${shown(entry.name)} comes where ${name} should`);
  }
}

/** Whoever made an archive can have written anything into it. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 120));
}
