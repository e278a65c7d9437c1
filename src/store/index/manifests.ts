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

/** Indexes that are looked into; what all the others say of a manifest is the same in nearly every case. */
const MAX_INDEXES_SEEN = 8;
/** Of one manifest; BuildKit makes one. */
const MAX_ATTESTATIONS = 8;

/**
 * The stored manifests that a stored index calls attestations of the image `subject`. Not those that are images
 * themselves: an index can say what it likes, and must not have the images of others kept or evicted.
 */
export function attestationsOf(tables: Tables, subject: Digest): Digest[] {
  if (kindOf(tables, subject) !== 'image') return [];
  const found = new Set<Digest>();
  for (const entry of entriesBeside(tables, subject)) {
    if (found.size >= MAX_ATTESTATIONS || attestedDigest(entry) !== subject) continue;
    if (kindOf(tables, entry.digest) === 'statement') found.add(entry.digest);
  }
  return [...found];
}

/** The stored images of which a manifest is an attestation; empty for everything else. */
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

/** Only what nobody runs can be a statement on something, so there is no circle of statements on statements. */
function kindOf({ manifests }: Tables, digest: Digest): 'image' | 'statement' | undefined {
  const content = manifests.content(digest);
  if (content === undefined || content.kind === 'index') return undefined;
  return isRunnableImage(content) ? 'image' : 'statement';
}

/** What is kept under a digest that is not a manifest we can read names nothing. */
const NAMES_NOTHING: ManifestContent = { kind: 'index', entries: [] };
/** Names in the manifests that were looked into lately. An index is for each of its entries. */
const MAX_NAMES_KEPT = 50_000;

/** The stored manifests; what they name and when they were pulled goes with them. */
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

  has(digest: Digest): boolean {
    return this.#manifests.has(digest);
  }

  get(digest: Digest): Manifest | undefined {
    const value = this.#manifests.getBinary(digest);
    return value === undefined ? undefined : decodeManifest(digest, value);
  }

  /** What a stored manifest names; undefined if it is not stored. */
  content(digest: Digest): ManifestContent | undefined {
    const known = this.#contents.get(digest);
    if (known !== undefined && this.#hasAge(digest)) return known;
    const manifest = this.get(digest);
    if (manifest === undefined) return undefined;
    const content = contentOf(manifest);
    this.#contents.set(digest, content);
    return content;
  }

  /** Within a transaction. One that is new counts as pulled at `usedAt`. What it names is to be entered as well. */
  put(manifest: Manifest, usedAt: number): void {
    const { digest } = manifest.descriptor;
    const value = encodeManifest(manifest);
    const known = this.#manifests.getBinary(digest);
    this.#manifests.put(digest, value);
    this.#contents.set(digest, contentOf(manifest));
    this.#totals.change('manifests', known?.length, value.length);
    if (known === undefined) this.#usage.set('manifest', digest, usedAt);
  }

  /** Within a transaction: a manifest that is stored names `named`. */
  enter(digest: Digest, named: Digest): void {
    if (!this.#hasAge(digest)) return;
    this.#references.add(digest, named);
    this.#usage.remove('blob', named);
  }

  /** Within a transaction: enters what a stored manifest names and when it was pulled. */
  index(digest: Digest, usedAt: number): void {
    this.#usage.set('manifest', digest, usedAt);
    for (const each of namedBy(this.content(digest) ?? NAMES_NOTHING)) this.enter(digest, each);
  }

  /** Within a transaction. What nothing else names is then as old as this was. Gives what it named. */
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

  /** What else is pulled with a stored manifest: the entries of an index, the attestations of an image. */
  belongingTo(digest: Digest): readonly Digest[] {
    const content = this.content(digest);
    if (content?.kind === 'index') return content.entries.map((entry) => entry.digest);
    return attestationsOf({ manifests: this, references: this.#references }, digest);
  }

  /** Within a transaction: a client pulled it at `at`, if it is stored. */
  touch(digest: Digest, at: number): void {
    if (this.#hasAge(digest)) this.#usage.set('manifest', digest, at);
  }

  /** True of every stored manifest; lmdb copies all four megabytes of one to tell that it exists. */
  #hasAge(digest: Digest): boolean {
    return this.#usage.usedAt('manifest', digest) !== undefined;
  }

  /** Up to `limit` digests after `after`, in order: for walks over all of them. */
  page(limit: number, after?: Digest): Digest[] {
    return this.#manifests.page(limit, after);
  }
}

/** Foreign layers included: nobody has to hold them, but we may. */
export function namedBy(content: ManifestContent): Set<Digest> {
  return new Set(descriptorsOf(content).map(({ digest }) => digest));
}

function descriptorsOf(content: ManifestContent): readonly Descriptor[] {
  return content.kind === 'index' ? content.entries : [content.config, ...content.layers, ...content.foreign];
}

/** What a manifest names; nothing if it is none that we can read. */
export function contentOf(manifest: Manifest): ManifestContent {
  try {
    return parseManifest(manifest.bytes, manifest.descriptor.mediaType).content;
  } catch (error) {
    if (error instanceof ManifestInvalidError) return NAMES_NOTHING;
    throw error;
  }
}

/** What refers to which manifest, by the key of the repository where it was asked for. */
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

  /** Within a transaction: all that is known of what refers to a manifest. */
  removeAll(digest: Digest): void {
    // All keys first: a cursor does not survive the removal of what it stands on.
    const keys = this.#referrers.keys(under(digest));
    for (const key of keys) this.#referrers.remove(key);
  }
}
