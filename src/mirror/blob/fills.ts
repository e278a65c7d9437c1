import type { SegmentLimits } from '../../download/plan.ts';
import type { OpenBlob } from '../../download/source.ts';
import type { Tell } from '../../events/events.ts';
import { deferred, withinMs, type Deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import { repositoryKey, type Repository } from '../../oci/reference.ts';
import type { Link } from '../../store/manifests.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { BlobBody } from '../answer/answers.ts';
import { ANSWER_WITHIN_MS } from '../answer/time-limit.ts';
import { Fill, type FillEnd, type FillRegistry, type SlotUser } from './fill.ts';

export interface WantedBlob {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly digest: Digest;
}

export interface FillsOptions {
  readonly blobs: FillRegistry['blobs'];
  /** Number of fills that receive at the same time. */
  readonly maxFills: number;
  readonly segmentLimits: SegmentLimits;
  readonly tell: Tell<'fill' | 'fault'>;
}

/** Fills that go on after their client has left. */
const MAX_UNREAD_PER_CLIENT = 4;

/**
 * All fills, at most one per digest. `maxFills` of them receive; the others queue, those with a reader first, then in
 * order of arrival. More at the same time would only share the bandwidth. A client that requests blobs and leaves can
 * start only a few fills that no client reads.
 */
export class Fills implements FillRegistry {
  readonly #options: FillsOptions;
  readonly #fills = new Map<Digest, Fill>();
  readonly #receiving = new Set<SlotUser>();
  /** Receiving fills that were asked to leave their slot. */
  readonly #pausing = new Set<SlotUser>();
  readonly #queue = new Map<SlotUser, Deferred<void>>();
  /** For each fill without readers, the client that left last. */
  readonly #leftBy = new Map<SlotUser, string>();
  #isClosed = false;

  constructor(options: FillsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#fills.size;
  }

  get queued(): number {
    return this.#queue.size;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get blobs(): FillRegistry['blobs'] {
    return this.#options.blobs;
  }

  get segmentLimits(): SegmentLimits {
    return this.#options.segmentLimits;
  }

  has(digest: Digest): boolean {
    return this.#fills.has(digest);
  }

  get(digest: Digest): Fill | undefined {
    return this.#fills.get(digest);
  }

  /** Starts a fill; there must be none of the same digest. */
  start(wanted: WantedBlob, link: Link | undefined): Fill {
    const { repository, digest } = wanted;
    const fill = new Fill({ repository, digest, link, open: opener(wanted, link?.size) }, this);
    this.#fills.set(digest, fill);
    if (this.#isClosed) fill.abort();
    fill.start();
    const leave = (): void => {
      this.#fills.delete(digest);
      this.#leftBy.delete(fill);
    };
    fill.ended.then(
      (end) => {
        leave();
        this.#tellEnd(fill, end);
      },
      (error: unknown) => {
        leave();
        this.#options.tell('fault', { where: 'fill', error });
      },
    );
    return fill;
  }

  #tellEnd({ repository, digest }: Fill, { error, ...end }: FillEnd): void {
    this.#options.tell('fill', {
      upstream: repository.host,
      repository: repositoryKey(repository),
      digest,
      ...end,
      reason: error instanceof Error ? error.message : undefined,
    });
  }

  enter(fill: SlotUser): Promise<void> {
    if (this.#receiving.size < this.#options.maxFills) {
      this.#receiving.add(fill);
      return Promise.resolve();
    }
    const turn = deferred<void>();
    this.#queue.set(fill, turn);
    this.#makeWay();
    return turn.promise;
  }

  leave(fill: SlotUser): void {
    this.#queue.delete(fill);
    this.#pausing.delete(fill);
    if (!this.#receiving.delete(fill)) return;
    const queue = [...this.#queue];
    const [next, turn] = queue.find(([{ isRead }]) => isRead) ?? queue[0] ?? [];
    if (next === undefined) return;
    this.#receiving.add(next);
    this.#queue.delete(next);
    turn?.resolve();
  }

  read(fill: SlotUser): void {
    this.#leftBy.delete(fill);
    this.#makeWay();
  }

  unread(fill: Fill, client: string): void {
    const left = [...this.#leftBy.values()].filter((other) => other === client).length;
    if (left < MAX_UNREAD_PER_CLIENT) this.#leftBy.set(fill, client);
    else fill.abort();
    this.#makeWay();
  }

  /** Ends all fills; resolves when their parts are kept for the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const fills = [...this.#fills.values()];
    for (const fill of fills) fill.abort();
    await Promise.allSettled(fills.map(({ ended }) => ended));
  }

  /** Fills without a reader leave their slots to queued fills with one. */
  #makeWay(): void {
    const waiting = [...this.#queue.keys()].filter(({ isRead }) => isRead).length;
    const idle = [...this.#receiving].filter((fill) => !fill.isRead && !this.#pausing.has(fill));
    for (const fill of idle.slice(0, Math.max(0, waiting - this.#pausing.size))) {
      this.#pausing.add(fill);
      fill.pause();
    }
  }
}

export function opener(
  { upstream, repository, digest }: WantedBlob,
  expectedSize: number | undefined,
): OpenBlob {
  return (offset, end, signal) =>
    upstream.getBlob(repository.name, digest, {
      identity: 'configured',
      offset,
      signal,
      end,
      expectedSize,
    });
}

/** Time until headers are sent while the fill is queued, and until they are sent if the size is known. */
const EARLY_HEADERS_MS = 4000;
const LATEST_HEADERS_MS = ANSWER_WITHIN_MS - 1000;

/**
 * Resolves to a body that follows the fill, as soon as its headers can be sent; to undefined if the fill has ended by
 * then. Its client counts as a reader from the start. Throws the error of the fill's start.
 */
export async function followed(
  fill: Fill,
  cache: 'stored' | 'collapsed',
  client: string,
): Promise<BlobBody | undefined> {
  if (fill.isOver) return undefined;
  const body = fill.join(cache, client);
  try {
    await readyToRead(fill);
    // An empty blob has no end that could be held back, so nobody reads it before it is verified.
    if (fill.size === 0) await fill.ended;
    if (!fill.isOver) return body;
  } catch (error) {
    body.close();
    throw error;
  }
  body.close();
  return undefined;
}

/**
 * Resolves when upstream has answered. Also resolves after a time limit if the size is known, so that clients get their
 * headers in time. Throws the error of the fill's start.
 */
async function readyToRead(fill: Fill): Promise<void> {
  await withinMs(fill.started, EARLY_HEADERS_MS);
  if (fill.isQueued && fill.size !== undefined) return;
  await withinMs(fill.started, LATEST_HEADERS_MS - EARLY_HEADERS_MS);
  if (fill.size === undefined) await fill.started;
}
