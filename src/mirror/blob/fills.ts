import type { SegmentLimits } from '../../download/plan.ts';
import type { OpenBlob } from '../../download/source.ts';
import { withinMs } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { BlobStore } from '../../store/blobs.ts';
import type { Link } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { BlobBody } from '../answer/answers.ts';
import { BlobFill } from './fill.ts';
import { type FillEnd, FillSlots } from './slots.ts';

/** What is known of a fill here. */
export interface Abandonable {
  abort(): void;
}

/**
 * Bounds what a client can make the mirror fetch for nobody by asking for blobs and going away: so many of the fills
 * that it left go on, the next one ends.
 */
export class UnreadFills {
  readonly #max: number;
  readonly #byClient = new Map<string, Set<Abandonable>>();
  readonly #clientOf = new Map<Abandonable, string>();

  constructor(maxPerClient: number) {
    this.#max = maxPerClient;
  }

  /** `client` was the last to leave the fill. */
  add(fill: Abandonable, client: string): void {
    this.remove(fill);
    const left = this.#byClient.get(client) ?? new Set();
    if (left.size >= this.#max) {
      fill.abort();
      return;
    }
    this.#byClient.set(client, left.add(fill));
    this.#clientOf.set(fill, client);
  }

  /** It has a reader again, or is over. */
  remove(fill: Abandonable): void {
    const client = this.#clientOf.get(fill);
    if (client === undefined) return;
    this.#clientOf.delete(fill);
    const left = this.#byClient.get(client);
    left?.delete(fill);
    if (left?.size === 0) this.#byClient.delete(client);
  }
}

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

/** By when headers go out although the fill still waits for its turn, and by when in any case. */
const EARLY_HEADERS_MS = 4000;
const LATEST_HEADERS_MS = 9500;

/**
 * A body that follows the fill, when it can be read; undefined if the fill is over by then. Its client counts as a reader
 * while it waits. Throws what the start of the fill does.
 */
export async function followed(
  fill: BlobFill,
  cache: 'stored' | 'collapsed',
  client: string,
): Promise<BlobBody | undefined> {
  if (fill.isOver) return undefined;
  const body = fill.join(cache, client);
  try {
    await readyToRead(fill);
    if (!fill.isOver) return body;
  } catch (error) {
    body.close();
    throw error;
  }
  body.close();
  return undefined;
}

/**
 * Resolves when bodies that follow the fill can be read: upstream has answered, or it takes so long that headers have
 * to go out, for which the size must be known. Throws what the start of the fill does.
 */
async function readyToRead(fill: BlobFill): Promise<void> {
  await withinMs(fill.started, EARLY_HEADERS_MS);
  if (fill.isQueued && fill.size !== undefined) return;
  await withinMs(fill.started, LATEST_HEADERS_MS - EARLY_HEADERS_MS);
  if (fill.size === undefined) await fill.started;
}
