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

/** The largest file that is read into memory before its digest is verified. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** The largest sum of all manifests: some 100,000 manifests. */
const MAX_MANIFESTS_BYTES = 512 * 1024 * 1024;

/** `unchecked`: there is a signature, but no key to verify it. */
export type SignatureState = 'none' | 'unchecked' | 'verified';

/** The verified files before the first manifest. */
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
 * Reads a bundle from a stream: call `head`, then `manifests`, then `blobs`, each to its end. All throw BundleError, and the
 * errors of the stream.
 */
export class BundleReader {
  readonly #tar: TarReader;
  readonly #keys: readonly KeyObject[];
  #contents: BundleContents = { manifests: [], referrers: [], blobs: [], base: [], docker: undefined };

  /** `keys`: each of them must verify the signature. */
  constructor(stream: AsyncIterable<Buffer>, keys: readonly KeyObject[]) {
    this.#tar = new TarReader(stream);
    this.#keys = keys;
  }

  async head(): Promise<BundleHead> {
    const first = await this.#first();
    if (first?.name !== FILES.layout) {
      const what = first === undefined ? 'is empty' : `begins with ${shown(first.name)}`;
      throw new BundleError('not-a-bundle', `not the beginning of a bundle: the archive ${what}`);
    }
    if (!(await this.#whole()).equals(LAYOUT)) {
      throw new BundleError('not-a-bundle', `not a bundle: ${FILES.layout} has another version`);
    }
    this.#require(await this.#tar.next(), FILES.index);
    const index = await this.#whole();
    let entry = await this.#tar.next();
    const isSigned = entry?.name === FILES.signature;
    const signature = isSigned ? await this.#whole() : undefined;
    if (isSigned) entry = await this.#tar.next();
    // Before parsing: an unsigned index is not read.
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
    if (total > MAX_MANIFESTS_BYTES) {
      const what = `the manifests have ${total} bytes; allowed: ${MAX_MANIFESTS_BYTES}`;
      throw new BundleError('corrupt', what);
    }
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

  /** Each blob with its bytes, which the caller must verify. Throws if the archive goes on behind the last blob. */
  async *blobs(): AsyncGenerator<BundledBlob & { readonly chunks: () => AsyncIterable<Buffer> }, void> {
    for (const blob of this.#contents.blobs) {
      await this.#next(blob);
      yield { ...blob, chunks: () => this.#tar.chunks() };
    }
    const more = await this.#tar.next();
    if (more !== undefined) {
      throw new BundleError('order', `${shown(more.name)} follows the last blob of ${FILES.contents}`);
    }
  }

  /** A file that is not an archive has no valid header at its beginning. */
  async #first(): Promise<TarEntry | undefined> {
    return this.#tar.next().catch((error: unknown) => {
      if (!(error instanceof BundleError) || error.code !== 'corrupt') throw error;
      throw new BundleError('not-a-bundle', 'not the beginning of a bundle: no tar archive', error);
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
    // The same limit as for manifests from upstream.
    if (blob.size > MAX_MANIFEST_BYTES) {
      const what = `the manifest ${blob.digest} has ${blob.size} bytes; allowed: ${MAX_MANIFEST_BYTES}`;
      throw new BundleError('corrupt', what);
    }
    await this.#next(blob);
    return this.#right(blobName(blob.digest), blob.digest);
  }

  async #next({ digest, size }: BundledBlob): Promise<void> {
    const entry = await this.#tar.next();
    this.#require(entry, blobName(digest));
    if (entry?.size === size) return;
    const what = `${digest} has ${entry?.size} bytes in the archive, and ${size} in ${FILES.contents}`;
    throw new BundleError('corrupt', what);
  }

  async #right(name: string, digest: Digest): Promise<Buffer> {
    const bytes = await this.#whole();
    if (digestMatches(digest, bytes)) return bytes;
    throw new BundleError('corrupt', `${name} is damaged: its bytes do not have the digest ${digest}`);
  }

  async #whole(): Promise<Buffer> {
    const bytes = await this.#tar.whole(MAX_FILE_BYTES);
    if (bytes === undefined) {
      throw new BundleError('corrupt', `a file before the blobs has more than ${MAX_FILE_BYTES} bytes`);
    }
    return bytes;
  }

  #require(entry: TarEntry | undefined, name: string): void {
    if (entry?.name === name) return;
    if (entry === undefined)
      throw new BundleError('cut-short', `the bundle is cut short: it ends before ${name}`);
    throw new BundleError('order', `${shown(entry.name)} is in the place of ${name}`);
  }
}

/** A name from the archive, which may be hostile, for a message of one line. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, 120));
}
