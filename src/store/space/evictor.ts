import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { Tell } from '../../events/events.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobLeases } from '../blob/leases.ts';
import type { Place } from '../index/blobs.ts';
import { IndexWriteError } from '../index/environment.ts';
import { subjectsOf, namedBy } from '../index/manifests.ts';
import {
  removeBlob,
  removeSome,
  removeSomeLinks,
  removeWithAttestations,
  type Removed,
} from '../index/removal.ts';
import type { IndexTables } from '../index/tables.ts';
import type { Protection } from './protection.ts';
import type { Remover } from './remover.ts';
import type { EvictionReason } from './room.ts';
import type { UsageBuffer } from './usage.ts';

/** A step is one transaction and the deletion of some files, then everyone else has a turn. */
const MAX_PLACES_PER_STEP = 64;
const MAX_BLOBS_PER_STEP = 10;
const MAX_PAUSE_MS = 50;
/** A place that is begun by then is seen to its end, which takes some 20 ms at most. */
const MAX_STEP_MS = 10;

export interface EvictorOptions {
  readonly tables: IndexTables;
  readonly leases: BlobLeases;
  readonly notes: Pick<UsageBuffer, 'flush'>;
  readonly protection: Protection;
  readonly remover: Remover;
  readonly tell: Tell<'indexFailed'>;
}

interface Demand {
  readonly reason: EvictionReason;
  readonly wanted: () => Promise<number>;
  readonly settle: (isEnough: boolean) => void;
}

interface Step {
  readonly freedBytes: number;
  /** The last place that is done with; undefined: none is. */
  readonly last: Place | undefined;
  /** There is no place left to look at. */
  readonly isEnd: boolean;
}

/** Evicts images whole, those first that were pulled longest ago, until everyone who wants room has it. */
export class Evictor {
  readonly #options: EvictorOptions;
  readonly #demands = new Set<Demand>();
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: EvictorOptions) {
    this.#options = options;
  }

  /** Resolves to true once `wanted`, in bytes, is 0 or less; to false when nothing is left that may go. */
  async free(reason: EvictionReason, wanted: () => Promise<number>): Promise<boolean> {
    if ((await wanted()) <= 0) return true;
    if (this.#isClosed) return false;
    return new Promise((settle) => {
      this.#demands.add({ reason, wanted, settle });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing is being evicted. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.idle();
  }

  async #run(): Promise<void> {
    try {
      await this.#options.notes.flush();
      let after: Place | undefined;
      for (let most = await this.#mostWanted(); most !== undefined; most = await this.#mostWanted()) {
        const from = performance.now();
        const step = await this.#step(after, most);
        after = step.last;
        if (step.isEnd || this.#isClosed) break;
        await this.#giveWay(most.reason, performance.now() - from);
      }
      await this.#mostWanted();
    } catch (error) {
      this.#options.tell('indexFailed', { error });
    }
    for (const demand of this.#demands) demand.settle(false);
    this.#demands.clear();
    this.#running = undefined;
  }

  /** As long as nobody waits for room, others have at least half of the time. */
  async #giveWay(reason: EvictionReason, stepMs: number): Promise<void> {
    switch (reason) {
      case 'mark':
        return sleep(Math.min(stepMs, MAX_PAUSE_MS));
      case 'room':
        return turn();
    }
  }

  /** Settles the demands that are met; the largest of the others, if there are any. */
  async #mostWanted(): Promise<{ readonly bytes: number; readonly reason: EvictionReason } | undefined> {
    let most: { bytes: number; reason: EvictionReason } | undefined;
    for (const demand of this.#demands) {
      const bytes = await demand.wanted();
      if (bytes <= 0) {
        this.#demands.delete(demand);
        demand.settle(true);
      } else if (most === undefined || bytes > most.bytes) most = { bytes, reason: demand.reason };
    }
    return most;
  }

  async #step(
    after: Place | undefined,
    most: { readonly bytes: number; readonly reason: EvictionReason },
  ): Promise<Step> {
    const { tables } = this.#options;
    const isCramped = await tables.environment.isCramped();
    if (isCramped) await this.#deleteFirst(after);
    try {
      return await this.#evict(after, most);
    } catch (error) {
      if (isCramped || !(error instanceof IndexWriteError)) throw error;
      await this.#deleteFirst(after);
      return this.#evict(after, most);
    }
  }

  async #evict(
    after: Place | undefined,
    most: { readonly bytes: number; readonly reason: EvictionReason },
  ): Promise<Step> {
    let last = after;
    let isEnd = true;
    let freedBytes = 0;
    const choose = (removed: Removed): void => {
      const until = performance.now() + MAX_STEP_MS;
      for (const place of this.#options.tables.usage.coldest(MAX_PLACES_PER_STEP, after)) {
        isEnd = false;
        if (!this.#visit(place, removed)) break;
        last = place;
        freedBytes = sum(removed.blobs.values());
        const isEnough = freedBytes >= most.bytes || removed.blobs.size >= MAX_BLOBS_PER_STEP;
        if (isEnough || performance.now() >= until) break;
      }
    };
    await this.#options.remover.remove(most.reason, choose);
    return { freedBytes, last, isEnd };
  }

  /** Within a transaction: removes what has this place, if it may go. False: that takes another transaction. */
  #visit([usedAt, unit, digest]: Place, removed: Removed): boolean {
    const { tables, protection } = this.#options;
    if (tables.usage.usedAt(unit, digest) !== usedAt) return true;
    if (unit === 'blob') {
      if (!this.#mayGo(digest)) return true;
      if (removeSomeLinks(tables, digest, removed)) return false;
      removeBlob(tables, digest, removed);
      return true;
    }
    const pulledAt = this.#lastPullOfOthers(digest);
    // An index goes after the last of its stored entries: it waits behind the freshest of them.
    if (pulledAt !== undefined && pulledAt >= usedAt) tables.usage.set('manifest', digest, pulledAt + 1);
    if (pulledAt !== undefined || protection.isProtected(digest)) return true;
    if (removeSome(tables, digest, removed)) return false;
    removeWithAttestations(tables, digest, { removed, mayGo: (each) => !protection.isProtected(each) });
    return true;
  }

  #mayGo(blob: Digest): boolean {
    return !this.#options.leases.isHeld(blob);
  }

  /**
   * Of those that it must not go before: the entries of an index, the image of which it is an attestation. Undefined: it
   * is neither, or none of them is stored.
   */
  #lastPullOfOthers(digest: Digest): number | undefined {
    const { tables } = this.#options;
    const content = tables.manifests.content(digest);
    const others =
      content?.kind === 'index' ? content.entries.map((entry) => entry.digest) : subjectsOf(tables, digest);
    let last: number | undefined;
    for (const each of others) {
      const usedAt = tables.usage.usedAt('manifest', each);
      if (usedAt !== undefined) last = Math.max(last ?? 0, usedAt);
    }
    return last;
  }

  /** Deletes the files of what would go next, so that the index has room to say so. */
  async #deleteFirst(after: Place | undefined): Promise<void> {
    const { tables, protection, remover } = this.#options;
    for (const [, unit, digest] of tables.usage.coldest(MAX_PLACES_PER_STEP, after)) {
      if (unit === 'blob' ? !this.#mayGo(digest) : protection.isProtected(digest)) continue;
      const content = unit === 'blob' ? undefined : tables.manifests.content(digest);
      if (content?.kind === 'index' || (unit === 'manifest' && subjectsOf(tables, digest).length > 0))
        continue;
      const own = content === undefined ? [digest] : [...namedBy(content)];
      const blobs = own.filter((each) => {
        return (
          tables.blobs.size(each) !== undefined && (unit === 'blob' || tables.references.isOwn(each, digest))
        );
      });
      if (blobs.length === 0) continue;
      await remover.removeFilesFirst(blobs);
      return;
    }
  }
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
