import type { Digest } from '../oci/digest.ts';
import type { Repository } from '../oci/reference.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { Link } from '../store/manifest-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { BlobFill } from './blob-fill.ts';
import type { FillEnd } from './fill-options.ts';
import type { SegmentLimits } from './fill-plan.ts';
import { FillSlots } from './fill-slots.ts';
import { UnreadFills } from './unread-fills.ts';
import type { OpenBlob } from './upstream-bytes.ts';

/** Fills that go on although the client that asked for them has gone. */
const MAX_UNREAD_PER_CLIENT = 4;

export interface RunningFillsOptions {
  readonly blobs: BlobStore;
  /** How many blobs are transferred at a time. */
  readonly maxFills: number;
  readonly segmentLimits: SegmentLimits;
  /** Told of every fill that has ended, for logs and metrics. */
  readonly onFillEnd: (end: FillEnd & { readonly repository: Repository; readonly digest: Digest }) => void;
}

/** What is filled, for whom. */
export interface WantedBlob {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly digest: Digest;
}

export interface RunningFill {
  readonly fill: BlobFill;
  readonly repository: Repository;
}

/** The fills under way, those that wait for their turn included; at most one per digest. */
export class RunningFills {
  readonly #options: RunningFillsOptions;
  readonly #fills = new Map<Digest, RunningFill>();
  readonly #slots: FillSlots;
  readonly #unread = new UnreadFills(MAX_UNREAD_PER_CLIENT);
  #isClosed = false;

  constructor(options: RunningFillsOptions) {
    this.#options = options;
    this.#slots = new FillSlots(options.maxFills);
  }

  get size(): number {
    return this.#fills.size;
  }

  get queued(): number {
    return this.#slots.queued;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  has(digest: Digest): boolean {
    return this.#fills.has(digest);
  }

  get(digest: Digest): RunningFill | undefined {
    return this.#fills.get(digest);
  }

  /** Begins a fill of a blob that has none. */
  start(wanted: WantedBlob, link: Link | undefined): BlobFill {
    const { repository, digest } = wanted;
    const { blobs, segmentLimits, onFillEnd } = this.#options;
    const fill: BlobFill = new BlobFill({
      digest,
      host: repository.host,
      expectedSize: link?.size,
      isNamed: link?.by === 'manifest',
      isLinked: link !== undefined,
      open: opener(wanted, link?.size),
      kept: blobs.keptPart(digest),
      createPart: (expectedSize) => blobs.createPart(digest, expectedSize),
      slots: this.#slots,
      limits: segmentLimits,
      onUnread: (client) => this.#unread.add(fill, client),
      onRead: () => this.#unread.remove(fill),
    });
    this.#fills.set(digest, { fill, repository });
    if (this.#isClosed) fill.abort();
    void fill.ended.then((end) => {
      this.#fills.delete(digest);
      this.#unread.remove(fill);
      onFillEnd({ ...end, repository, digest });
    });
    return fill;
  }

  /** Ends all fills; resolves when what they have is kept for the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const fills = [...this.#fills.values()];
    for (const { fill } of fills) fill.abort();
    await Promise.all(fills.map(({ fill }) => fill.ended));
  }
}

/** Asks upstream for the blob, whatever bytes of it are wanted. */
export function opener(
  { upstream, repository, digest }: WantedBlob,
  expectedSize: number | undefined,
): OpenBlob {
  return (offset, end, signal) =>
    upstream.getBlob(repository.name, digest, {
      identity: 'configured',
      offset,
      ...(signal === undefined ? {} : { signal }),
      ...(end === undefined ? {} : { end }),
      ...(expectedSize === undefined ? {} : { expectedSize }),
    });
}
