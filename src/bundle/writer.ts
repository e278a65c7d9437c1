import type { KeyObject } from 'node:crypto';
import { digestHasher, digestOf, hasherMatches, type Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import {
  renderBundleIndex,
  type BundledImage,
  renderDockerManifest,
  type DockerImage,
} from './bundle-index.ts';
import {
  renderBundleContents,
  type BundledBlob,
  type BundleContents,
  blobName,
  FILES,
  LAYOUT,
} from './contents.ts';
import { BundleError } from './error.ts';
import { signatureOf } from './signature.ts';
import { tarEnd, tarFile, tarFileBytes } from './tar.ts';

/** The contents of a bundle. Each list is in the order of the file, without duplicates. */
export interface BundleDraft {
  readonly images: readonly BundledImage[];
  readonly manifests: readonly Manifest[];
  readonly referrers: readonly {
    readonly repository: Repository;
    readonly subject: Digest;
    readonly bytes: Buffer;
  }[];
  readonly blobs: readonly BundledBlob[];
  readonly base: readonly BundledBlob[];
  readonly docker: readonly DockerImage[];
}

export interface BundleOptions {
  /** Undefined: the bundle is not signed. */
  readonly key?: KeyObject | undefined;
  /** The bytes of a blob. */
  readonly read: (digest: Digest) => AsyncIterable<Buffer>;
}

interface SmallFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Writes a bundle. The same draft and key give the same bytes. */
export class Bundle {
  readonly #head: readonly SmallFile[];
  readonly #blobs: readonly BundledBlob[];
  readonly #read: BundleOptions['read'];

  constructor(draft: BundleDraft, { key, read }: BundleOptions) {
    this.#head = headOf(draft, key);
    this.#blobs = draft.blobs;
    this.#read = read;
  }

  /** Number of bytes of the bundle. */
  get size(): number {
    const files = [
      ...this.#head.map(({ name, bytes }) => ({ name, size: bytes.length })),
      ...this.#blobs.map(({ digest, size }) => ({ name: blobName(digest), size })),
    ];
    return files.reduce((sum, file) => sum + tarFileBytes(file), tarEnd().length);
  }

  /** Throws BundleError `changed` if a blob is damaged on disk, and the errors of `read`. */
  async *bytes(): AsyncGenerator<Buffer, void> {
    for (const { name, bytes } of this.#head) yield* tarFile({ name, size: bytes.length }, [bytes]);
    for (const blob of this.#blobs) {
      yield* tarFile({ name: blobName(blob.digest), size: blob.size }, this.#checked(blob));
    }
    yield tarEnd();
  }

  /** Finds damage of this disk before the bundle travels. */
  async *#checked({ digest, size }: BundledBlob): AsyncGenerator<Buffer, void> {
    const hasher = digestHasher(digest);
    let left = size;
    for await (const chunk of this.#read(digest)) {
      left -= chunk.length;
      if (left < 0) break;
      hasher.update(chunk);
      yield chunk;
    }
    if (left !== 0 || !hasherMatches(hasher, digest)) {
      throw new BundleError('changed', `${digest} is damaged on disk; run \`pierhead verify --repair\``);
    }
  }
}

function headOf(draft: BundleDraft, key: KeyObject | undefined): SmallFile[] {
  const docker = draft.docker.length === 0 ? undefined : renderDockerManifest(draft.docker);
  const contents = renderBundleContents(contentsOf(draft, docker));
  const index = renderBundleIndex(draft.images, digestOf(contents));
  const lists = new Map(draft.referrers.map(({ bytes }) => [digestOf(bytes), bytes]));
  return [
    { name: FILES.layout, bytes: LAYOUT },
    { name: FILES.index, bytes: index },
    ...(key === undefined ? [] : [{ name: FILES.signature, bytes: signatureOf(index, key) }]),
    { name: FILES.contents, bytes: contents },
    ...(docker === undefined ? [] : [{ name: FILES.docker, bytes: docker }]),
    ...draft.manifests.map(({ descriptor, bytes }) => ({ name: blobName(descriptor.digest), bytes })),
    ...[...lists].map(([digest, bytes]) => ({ name: blobName(digest), bytes })),
  ];
}

function contentsOf(draft: BundleDraft, docker: Buffer | undefined): BundleContents {
  return {
    manifests: draft.manifests.map(({ descriptor }) => descriptor),
    referrers: draft.referrers.map(({ repository, subject, bytes }) => ({
      repository,
      subject,
      list: { digest: digestOf(bytes), size: bytes.length },
    })),
    blobs: draft.blobs,
    base: draft.base,
    docker: docker === undefined ? undefined : digestOf(docker),
  };
}
