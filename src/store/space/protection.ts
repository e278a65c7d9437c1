import type { Digest } from '../../oci/digest.ts';
import type { BlobHolds } from '../blob/holds.ts';
import { namedBy } from '../index/manifests.ts';
import { isPinned } from '../index/pinned.ts';
import type { IndexTables } from '../index/tables.ts';
import type { UsageNotes } from './usage-notes.ts';

/** Whoever was given a manifest asks for what it names within this time. */
const GRACE_MS = 10_000;
/** A blob that is open belongs to a pull that began at most so long ago. */
const LONGEST_PULL_MS = 60 * 60 * 1000;

export interface ProtectionOptions {
  readonly tables: IndexTables;
  readonly holds: BlobHolds;
  readonly notes: Pick<UsageNotes, 'servedAt'>;
  readonly now: () => number;
}

/** What must not be evicted, however cold it is: images that are pinned, and images that are being pulled. */
export class Protection {
  readonly #options: ProtectionOptions;

  constructor(options: ProtectionOptions) {
    this.#options = options;
  }

  /** Of a stored manifest. What is true of an index is true of its entries. */
  isProtected(digest: Digest): boolean {
    const { tables } = this.#options;
    if (isPinned(tables, digest) || this.#isNew(digest) || this.#isInUse(digest)) return true;
    return [digest, ...tables.references.namersOf(digest)].some((each) => this.#wasServed(each));
  }

  /** Whoever had it fetched has not been served yet. */
  #isNew(digest: Digest): boolean {
    const { tables, now } = this.#options;
    return (tables.usage.usedAt('manifest', digest) ?? 0) > now() - GRACE_MS;
  }

  #wasServed(digest: Digest): boolean {
    const { notes, now } = this.#options;
    return (notes.servedAt(digest) ?? 0) > now() - GRACE_MS;
  }

  /**
   * Whether a blob of it is open or being filled. One that other images have too says so only if this one was pulled
   * lately: a base layer that is always being read must not keep every image on it.
   */
  #isInUse(digest: Digest): boolean {
    const { tables, holds, now } = this.#options;
    const content = tables.manifests.content(digest);
    if (content === undefined || content.kind === 'index') return false;
    const wasPulledLately = (tables.usage.usedAt('manifest', digest) ?? 0) > now() - LONGEST_PULL_MS;
    return [...namedBy(content)].some(
      (each) => holds.isHeld(each) && (wasPulledLately || tables.references.isOwn(each, digest)),
    );
  }
}
