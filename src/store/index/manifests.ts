import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import {
  ManifestInvalidError,
  parseManifest,
  type Descriptor,
  type ManifestContent,
} from '../../oci/manifest.ts';
import { decodeManifest, encodeManifest } from '../manifest/codec.ts';
import type { StoredManifest } from '../manifest-store.ts';
import { attestationsOf } from './attestations.ts';
import type { BlobTable } from './blobs.ts';
import type { IndexEnvironment } from './environment.ts';
import type { ReferenceTable } from './references.ts';
import { openTable, type Table } from './table.ts';
import type { TotalsTable } from './totals.ts';
import type { UsageTable } from './usage.ts';

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

  get(digest: Digest): StoredManifest | undefined {
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
  put(manifest: StoredManifest, usedAt: number): void {
    const { digest } = manifest;
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
export function contentOf(manifest: StoredManifest): ManifestContent {
  try {
    return parseManifest(manifest.bytes, manifest.mediaType).content;
  } catch (error) {
    if (error instanceof ManifestInvalidError) return NAMES_NOTHING;
    throw error;
  }
}
