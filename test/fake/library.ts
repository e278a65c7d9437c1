import type { Digest } from '../../src/oci/digest.ts';
import { bytesContent, type Content } from './content.ts';

/** A manifest as it is served: its bytes and the type they are served under. */
export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** What a repository is filled with: an image, an index with its children, or any other set of manifests and blobs. */
export interface ImageContent {
  /** What a tag names. */
  readonly root: StoredManifest;
  /** Every manifest, `root` included; children before their parents. */
  readonly manifests: readonly StoredManifest[];
  readonly blobs: readonly Content[];
}

/** Who may pull a repository; anybody if undefined. Docker Hub hides what it refuses. */
export interface Repository {
  readonly tags: Map<string, Digest>;
  readonly manifests: Map<string, StoredManifest>;
  readonly blobs: Map<string, Content>;
  readers: readonly string[] | undefined;
  /** Descriptors by the manifest that they refer to; undefined: the referrers API is not served. */
  referrers: Map<string, readonly object[]> | undefined;
}

/** The repositories of the stand-in. */
export class Library {
  readonly #repositories = new Map<string, Repository>();

  find(name: string): Repository | undefined {
    return this.#repositories.get(name);
  }

  /** The repository called `name`, made if need be. */
  open(name: string): Repository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const repository: Repository = {
      tags: new Map(),
      manifests: new Map(),
      blobs: new Map(),
      readers: undefined,
      referrers: undefined,
    };
    this.#repositories.set(name, repository);
    return repository;
  }

  remove(name: string): void {
    this.#repositories.delete(name);
  }

  /** True if `user` (undefined: anonymous) may pull from `name`, which must exist for that. */
  mayPull(name: string, user: string | undefined): boolean {
    const repository = this.find(name);
    if (repository === undefined) return false;
    return repository.readers === undefined || (user !== undefined && repository.readers.includes(user));
  }

  /** A blob wherever it is, or a manifest: the blob host knows no repositories, and bytes are bytes there. */
  findBlob(digest: string): Content | undefined {
    for (const { blobs, manifests } of this.#repositories.values()) {
      const blob = blobs.get(digest);
      if (blob !== undefined) return blob;
      const manifest = manifests.get(digest);
      if (manifest !== undefined) return bytesContent(manifest.bytes);
    }
    return undefined;
  }
}
