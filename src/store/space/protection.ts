import { setImmediate as turn } from 'node:timers/promises';
import type { Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import { isPinned, addClosure, emptyClosure, type Closure } from '../index/closure.ts';
import { namedBy, attestationsOf } from '../index/manifests.ts';
import type { Pin } from '../index/pins.ts';
import type { IndexTables } from '../index/tables.ts';
import type { UsageBuffer } from './usage.ts';

/** A client requests the blobs of a manifest within this time. */
const GRACE_MS = 10_000;
/** The pull of an open blob began at most this long ago. */
const LONGEST_PULL_MS = 60 * 60 * 1000;

export interface ProtectionOptions {
  readonly tables: IndexTables;
  readonly leases: BlobLeases;
  readonly notes: Pick<UsageBuffer, 'servedAt'>;
  readonly now: () => number;
}

/** Decides which images must not be evicted: pinned ones, and those that clients pull now. */
export class Protection {
  readonly #options: ProtectionOptions;

  constructor(options: ProtectionOptions) {
    this.#options = options;
  }

  /** For a cached manifest. An index that was served lately protects its entries. */
  isProtected(digest: Digest): boolean {
    const { tables } = this.#options;
    if (isPinned(tables, digest) || this.#isNew(digest) || this.#isInUse(digest)) return true;
    return [digest, ...tables.references.namersOf(digest)].some((each) => this.#wasServed(each));
  }

  /** A new manifest: the client that caused its download may not have received it yet. */
  #isNew(digest: Digest): boolean {
    const { tables, now } = this.#options;
    return (tables.usage.usedAt('manifest', digest) ?? 0) > now() - GRACE_MS;
  }

  #wasServed(digest: Digest): boolean {
    const { notes, now } = this.#options;
    return (notes.servedAt(digest) ?? 0) > now() - GRACE_MS;
  }

  /**
   * Whether a blob of the manifest is open or being filled. A blob that other images share counts only if this one was
   * pulled lately: a base layer that is always open must not protect all images on it.
   */
  #isInUse(digest: Digest): boolean {
    const { tables, leases, now } = this.#options;
    const content = tables.manifests.content(digest);
    if (content === undefined || content.kind === 'index') return false;
    const wasPulledLately = (tables.usage.usedAt('manifest', digest) ?? 0) > now() - LONGEST_PULL_MS;
    return [...namedBy(content)].some(
      (each) => leases.isHeld(each) && (wasPulledLately || tables.references.isOwn(each, digest)),
    );
  }
}

/** Pins per turn of the event loop. */
const STEP = 20;
const MEASURE_EVERY_MS = 60_000;

/** Bytes that pins protect, measured each minute: tags move, and clients pull further platforms. */
export class PinnedBytes {
  readonly #tables: IndexTables;
  #timer: NodeJS.Timeout | undefined;
  #storedBytes = 0;

  constructor(tables: IndexTables) {
    this.#tables = tables;
  }

  /** Cached bytes that pins protected at the last measurement. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  async start(): Promise<void> {
    // The index can be closed during a measurement.
    const measure = (): Promise<void> => this.measure().catch(() => undefined);
    this.#timer = setInterval(() => void measure(), MEASURE_EVERY_MS);
    this.#timer.unref();
    await this.measure();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** The closure of all pins, and of `also`. */
  async closure(also?: Pin): Promise<Closure> {
    const closure = emptyClosure();
    const pins = [...this.#tables.pins.all(), ...(also === undefined ? [] : [also])];
    for (const [at, pin] of pins.entries()) {
      const digest = pinnedDigest(this.#tables, pin);
      if (digest !== undefined) {
        addClosure(this.#tables, digest, closure);
        for (const each of attestationsOf(this.#tables, digest)) addClosure(this.#tables, each, closure);
      }
      if (at % STEP === STEP - 1) await turn();
    }
    return closure;
  }

  async measure(): Promise<void> {
    let bytes = 0;
    for (const digest of (await this.closure()).blobs.keys()) bytes += this.#tables.blobs.size(digest) ?? 0;
    this.#storedBytes = bytes;
  }
}

/** The digest that a pin protects now; undefined if its tag is not cached. */
export function pinnedDigest(tables: IndexTables, pin: Pin): Digest | undefined {
  return pin.kind === 'digest' ? pin.digest : tables.tags.get([pin.repository, pin.tag])?.descriptor.digest;
}
