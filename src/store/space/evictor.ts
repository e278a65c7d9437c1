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

/** A step is one transaction and the removal of some files. Other work has a turn after each step. */
const MAX_PLACES_PER_STEP = 64;
const MAX_BLOBS_PER_STEP = 10;
const MAX_PAUSE_MS = 50;
/** After this time no further place is begun. One place takes at most about 20 ms. */
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

interface OpenDemand {
  readonly reason: EvictionReason;
  readonly bytes: number;
}

interface Step {
  /** The last place that was visited; undefined: none. */
  readonly last: Place | undefined;
  /** There are no further places. */
  readonly isEnd: boolean;
}

/** Evicts complete images, least recently pulled first, until all demands for room are met. */
export class Evictor {
  readonly #options: EvictorOptions;
  readonly #demands = new Set<Demand>();
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: EvictorOptions) {
    this.#options = options;
  }

  /** Resolves to true when `wanted` (bytes) is 0 or less; to false when no further image may be evicted. */
  async free(reason: EvictionReason, wanted: () => Promise<number>): Promise<boolean> {
    if ((await wanted()) <= 0) return true;
    if (this.#isClosed) return false;
    return new Promise((settle) => {
      this.#demands.add({ reason, wanted, settle });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when no eviction runs. */
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

  /** If no fill waits for room, eviction takes at most half of the time. */
  async #giveWay(reason: EvictionReason, stepMs: number): Promise<void> {
    switch (reason) {
      case 'mark':
        return sleep(Math.min(stepMs, MAX_PAUSE_MS));
      case 'room':
        return turn();
    }
  }

  /** Settles the demands that are met. Returns the largest of the others; undefined: none. */
  async #mostWanted(): Promise<OpenDemand | undefined> {
    let most: OpenDemand | undefined;
    for (const demand of this.#demands) {
      const bytes = await demand.wanted();
      if (bytes <= 0) {
        this.#demands.delete(demand);
        demand.settle(true);
      } else if (most === undefined || bytes > most.bytes) most = { bytes, reason: demand.reason };
    }
    return most;
  }

  async #step(after: Place | undefined, most: OpenDemand): Promise<Step> {
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

  async #evict(after: Place | undefined, most: OpenDemand): Promise<Step> {
    let last = after;
    let isEnd = true;
    const choose = (removed: Removed): void => {
      const until = performance.now() + MAX_STEP_MS;
      for (const place of this.#options.tables.usage.coldest(MAX_PLACES_PER_STEP, after)) {
        isEnd = false;
        if (!this.#visit(place, removed)) break;
        last = place;
        const isEnough =
          sum(removed.blobs.values()) >= most.bytes || removed.blobs.size >= MAX_BLOBS_PER_STEP;
        if (isEnough || performance.now() >= until) break;
      }
    };
    await this.#options.remover.remove(most.reason, choose);
    return { last, isEnd };
  }

  /** Within a transaction: removes the unit at this place, if it may go. False: another transaction must continue. */
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
    // An index must outlive its cached entries: it moves behind the freshest of them.
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
   * The last pull of the manifests that must go before this one: the entries of an index, the image of an attestation.
   * Undefined: there are none in the cache.
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

  /** Removes the files of the next unit to evict, so that the index has room for its transaction. */
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
