import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import {
  attestedDigest,
  isRunnableImage,
  ManifestInvalidError,
  parseManifest,
  type Descriptor,
  type ManifestContent,
  type Manifest,
} from '../../oci/manifest.ts';
import { decodeManifest, encodeManifest } from '../codec.ts';
import type { ReferrersRecord } from '../manifests.ts';
import type { ReferenceTable, BlobTable, UsageTable } from './blobs.ts';
import type { IndexEnvironment } from './environment.ts';
import { openTable, type Table, type TotalsTable, under } from './table.ts';

interface Tables {
  readonly manifests: Pick<ManifestTable, 'content'>;
  readonly references: Pick<ReferenceTable, 'namersOf'>;
}

/** Indexes that are read; further indexes nearly always have the same entries. */
const MAX_INDEXES_SEEN = 8;
/** Per image; BuildKit makes one. */
const MAX_ATTESTATIONS = 8;

/**
 * The cached manifests that a cached index lists as attestations of the image `subject`. Runnable images do not count:
 * a false index must not protect or evict the images of other repositories.
 */
export function attestationsOf(tables: Tables, subject: Digest): Digest[] {
  const found = new Set<Digest>();
  for (const entry of entriesBeside(tables, subject)) {
    if (found.size >= MAX_ATTESTATIONS || attestedDigest(entry) !== subject) continue;
    if (kindOf(tables, entry.digest) === 'statement') found.add(entry.digest);
  }
  // Last, since most images have none: the subject would have to be read.
  return found.size > 0 && kindOf(tables, subject) === 'image' ? [...found] : [];
}

/** The cached images that a manifest attests; empty if the manifest is no attestation. */
export function subjectsOf(tables: Tables, attestation: Digest): Digest[] {
  if (kindOf(tables, attestation) !== 'statement') return [];
  const found = new Set<Digest>();
  for (const entry of entriesBeside(tables, attestation)) {
    const subject = entry.digest === attestation ? attestedDigest(entry) : undefined;
    if (subject !== undefined && kindOf(tables, subject) === 'image') found.add(subject);
  }
  return [...found];
}

function entriesBeside({ manifests, references }: Tables, digest: Digest) {
  return references.namersOf(digest, MAX_INDEXES_SEEN).flatMap((index) => {
    const content = manifests.content(index);
    return content?.kind === 'index' ? content.entries : [];
  });
}

/** A statement cannot be an image, and only images have statements: so no circle is possible. */
function kindOf({ manifests }: Tables, digest: Digest): 'image' | 'statement' | undefined {
  const content = manifests.content(digest);
  if (content === undefined || content.kind === 'index') return undefined;
  return isRunnableImage(content) ? 'image' : 'statement';
}

/** Content of a manifest that cannot be parsed. */
const NAMES_NOTHING: ManifestContent = { kind: 'index', entries: [] };
/** Descriptors in the cache of parsed manifests. An index is read again for each of its entries. */
const MAX_NAMES_KEPT = 50_000;

/** The cached manifests, with the digests that they name and the times of their last pulls. */
export class ManifestTable {
  readonly #manifests: Table<Buffer, Digest>;
  readonly #totals: TotalsTable;
  readonly #references: ReferenceTable;
  readonly #usage: UsageTable;
  readonly #blobs: BlobTable;
  readonly #contents = new LRUCache<Digest, ManifestContent>({
    maxSize: MAX_NAMES_KEPT,
    sizeCalculation: (content) => 1 + descriptorsOf(content).length,
  });

  constructor(
    environment: IndexEnvironment,
    tables: {
      readonly totals: TotalsTable;
      readonly references: ReferenceTable;
      readonly usage: UsageTable;
      readonly blobs: BlobTable;
    },
  ) {
    this.#manifests = openTable(environment, 'manifests', 'binary');
    this.#totals = tables.totals;
    this.#references = tables.references;
    this.#usage = tables.usage;
    this.#blobs = tables.blobs;
  }

  /** Reads the age that each cached manifest has: for `doesExist`, lmdb copies all bytes of a manifest, up to 4 MB. */
  has(digest: Digest): boolean {
    return this.#usage.usedAt('manifest', digest) !== undefined;
  }

  get(digest: Digest): Manifest | undefined {
    const value = this.#manifests.getBinary(digest);
    return value === undefined ? undefined : decodeManifest(digest, value);
  }

  /** The parsed manifest; undefined if it is not cached. */
  content(digest: Digest): ManifestContent | undefined {
    const known = this.#contents.get(digest);
    if (known !== undefined && this.has(digest)) return known;
    const manifest = this.get(digest);
    if (manifest === undefined) return undefined;
    const content = contentOf(manifest);
    this.#contents.set(digest, content);
    return content;
  }

  /** Within a transaction. A new manifest counts as pulled at `usedAt`. Callers `enter` each digest that it names. */
  put(manifest: Manifest, usedAt: number): void {
    const { digest } = manifest.descriptor;
    const value = encodeManifest(manifest);
    const known = this.#manifests.getBinary(digest);
    this.#manifests.put(digest, value);
    this.#contents.set(digest, contentOf(manifest));
    this.#totals.change('manifests', known?.length, value.length);
    if (known === undefined) this.#usage.set('manifest', digest, usedAt);
  }

  /** Within a transaction: records that a cached manifest names `named`. */
  enter(digest: Digest, named: Digest): void {
    if (!this.has(digest)) return;
    this.#references.add(digest, named);
    this.#usage.remove('blob', named);
  }

  /** Within a transaction: enters the digests that a cached manifest names, and its age. */
  index(digest: Digest, usedAt: number): void {
    this.#usage.set('manifest', digest, usedAt);
    for (const each of namedBy(this.content(digest) ?? NAMES_NOTHING)) this.enter(digest, each);
  }

  /** Within a transaction. Blobs that no other manifest names get its age. Returns the digests that it named. */
  remove(digest: Digest): Set<Digest> {
    const value = this.#manifests.getBinary(digest);
    if (value === undefined) return new Set();
    const named = namedBy(this.content(digest) ?? NAMES_NOTHING);
    const usedAt = this.#usage.usedAt('manifest', digest) ?? 0;
    this.#manifests.remove(digest);
    this.#contents.delete(digest);
    this.#totals.change('manifests', value.length, undefined);
    this.#usage.remove('manifest', digest);
    this.#references.remove(digest, named);
    for (const each of named) this.#blobs.age(each, usedAt);
    return named;
  }

  /** The entries of a cached index; empty for an image. */
  entriesOf(digest: Digest): readonly Digest[] {
    const content = this.content(digest);
    return content?.kind === 'index' ? content.entries.map((entry) => entry.digest) : [];
  }

  /** See the function of this name. */
  attestationsOf(digest: Digest): readonly Digest[] {
    return attestationsOf({ manifests: this, references: this.#references }, digest);
  }

  /** Within a transaction: a client pulled this manifest at `at`. False: it is not cached. */
  touch(digest: Digest, at: number): boolean {
    return this.#usage.renew('manifest', digest, at);
  }

  /** Up to `limit` digests after `after`, in order. */
  page(limit: number, after?: Digest): Digest[] {
    return this.#manifests.page(limit, after);
  }
}

/** All digests in a manifest. Foreign layers are among them: they may be cached too. */
export function namedBy(content: ManifestContent): Set<Digest> {
  return new Set(descriptorsOf(content).map(({ digest }) => digest));
}

function descriptorsOf(content: ManifestContent): readonly Descriptor[] {
  return content.kind === 'index' ? content.entries : [content.config, ...content.layers, ...content.foreign];
}

/** The parsed manifest; one without entries if it cannot be parsed. */
export function contentOf(manifest: Manifest): ManifestContent {
  try {
    return parseManifest(manifest.bytes, manifest.descriptor.mediaType).content;
  } catch (error) {
    if (error instanceof ManifestInvalidError) return NAMES_NOTHING;
    throw error;
  }
}

/** The referrers of manifests, by digest and repository key. */
export class ReferrersTable {
  readonly #referrers: Table<ReferrersRecord, [digest: Digest, repository: string]>;

  constructor(environment: IndexEnvironment) {
    this.#referrers = openTable(environment, 'referrers');
  }

  get(digest: Digest, repository: string): ReferrersRecord | undefined {
    return this.#referrers.get([digest, repository]);
  }

  /** Within a transaction. */
  put(digest: Digest, repository: string, record: ReferrersRecord): void {
    this.#referrers.put([digest, repository], record);
  }

  /** Within a transaction. */
  remove(digest: Digest, repository: string): void {
    this.#referrers.remove([digest, repository]);
  }

  /** Within a transaction: removes the referrers of a manifest in all repositories. */
  removeAll(digest: Digest): void {
    // All keys first: a cursor does not survive the removal of its entry.
    const keys = this.#referrers.keys(under(digest));
    for (const key of keys) this.#referrers.remove(key);
  }
}
