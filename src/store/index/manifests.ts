import type { Digest } from '../../oci/digest.ts';
import { ManifestInvalidError, parseManifest, type ManifestContent } from '../../oci/manifest.ts';
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

/** The stored manifests; what they name and when they were pulled goes with them. */
export class ManifestTable {
  readonly #manifests: Table<Buffer, Digest>;
  readonly #totals: TotalsTable;
  readonly #references: ReferenceTable;
  readonly #usage: UsageTable;
  readonly #blobs: BlobTable;

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
    const manifest = this.get(digest);
    return manifest === undefined ? undefined : contentOf(manifest);
  }

  /** Within a transaction. One that is new counts as pulled at `usedAt`. */
  put(manifest: StoredManifest, usedAt: number): void {
    const { digest } = manifest;
    const value = encodeManifest(manifest);
    const known = this.#manifests.getBinary(digest);
    this.#manifests.put(digest, value);
    this.#totals.change('manifests', known?.length, value.length);
    if (known === undefined) this.index(digest, usedAt);
  }

  /** Within a transaction: enters what a stored manifest names and when it was pulled. */
  index(digest: Digest, usedAt: number): void {
    const content = this.content(digest) ?? NAMES_NOTHING;
    const named = namedBy(content);
    this.#references.add(digest, named);
    this.#usage.set('manifest', digest, usedAt);
    for (const each of named) this.#usage.remove('blob', each);
  }

  /** Within a transaction. What nothing else names is then as old as this was. Gives what it named. */
  remove(digest: Digest): Set<Digest> {
    const value = this.#manifests.getBinary(digest);
    if (value === undefined) return new Set();
    const named = namedBy(this.content(digest) ?? NAMES_NOTHING);
    const usedAt = this.#usage.usedAt('manifest', digest) ?? 0;
    this.#manifests.remove(digest);
    this.#totals.change('manifests', value.length, undefined);
    this.#usage.remove('manifest', digest);
    this.#references.remove(digest, named);
    for (const each of named) this.#blobs.age(each, usedAt);
    return named;
  }

  /**
   * Within a transaction: a client pulled it at `at`, an index with all of its stored entries and an image with its
   * attestations. False: not stored.
   */
  touch(digest: Digest, at: number): boolean {
    const content = this.content(digest);
    if (content === undefined) return false;
    this.#usage.set('manifest', digest, at);
    const tables = { manifests: this, references: this.#references };
    const belonging =
      content.kind === 'image'
        ? attestationsOf(tables, digest)
        : content.entries.map((entry) => entry.digest).filter((entry) => this.has(entry));
    for (const each of belonging) this.#usage.set('manifest', each, at);
    return true;
  }

  /** Up to `limit` digests after `after`, in order: for walks over all of them. */
  page(limit: number, after?: Digest): Digest[] {
    const from = after === undefined ? {} : { start: after, exclusiveStart: true };
    return this.#manifests.keys({ ...from, limit });
  }
}

/** Foreign layers included: nobody has to hold them, but we may. */
export function namedBy(content: ManifestContent): Set<Digest> {
  const named =
    content.kind === 'index' ? content.entries : [content.config, ...content.layers, ...content.foreign];
  return new Set(named.map(({ digest }) => digest));
}

function contentOf(manifest: StoredManifest): ManifestContent {
  try {
    return parseManifest(manifest.bytes, manifest.mediaType).content;
  } catch (error) {
    if (error instanceof ManifestInvalidError) return NAMES_NOTHING;
    throw error;
  }
}
