import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Extents } from '../../lib/extents.ts';
import type { Digest } from '../../oci/digest.ts';
import type { KeptExtents } from '../blobs.ts';
import { FOLDER_MODE } from '../owner-only.ts';
import type { Reservation, Room } from '../room.ts';
import { readJournal, removePart } from './journal.ts';
import { partOfJournal, partsDirectory } from './layout.ts';

/** A kept part that no client requests within this time is removed. */
const KEPT_FOR_MS = 24 * 60 * 60 * 1000;
const SWEEP_EVERY_MS = 60 * 60 * 1000;

export interface KeptPart extends KeptExtents {
  readonly path: string;
  readonly keptAt: number;
  readonly reservation: Reservation;
}

/** Parts that are not being filled now, at most one per digest. The next fill of the blob continues them. */
export class KeptParts {
  readonly #parts = new Map<Digest, KeptPart>();
  readonly #now: () => number;
  readonly #sweeper: NodeJS.Timeout;

  private constructor(now: () => number) {
    this.#now = now;
    this.#sweeper = setInterval(() => void this.#sweep(), SWEEP_EVERY_MS);
    this.#sweeper.unref();
  }

  /** Finds the parts of earlier processes, and removes those that are unreliable or older than 24 h. */
  static async open(dataDir: string, room: Room, now: () => number = Date.now): Promise<KeptParts> {
    const kept = new KeptParts(now);
    const folder = partsDirectory(dataDir);
    await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    const names = await readdir(folder);
    for (const name of names) {
      const path = partOfJournal(join(folder, name));
      if (path !== undefined) await kept.#adopt(path, room);
    }
    const known = new Set([...kept.#parts.values()].map(({ path }) => path));
    for (const name of names) {
      const path = join(folder, name);
      if (!known.has(partOfJournal(path) ?? path)) await rm(path, { force: true }).catch(() => undefined);
    }
    return kept;
  }

  get(digest: Digest): KeptExtents | undefined {
    return this.#parts.get(digest);
  }

  /** Gives the part and its reservation to the caller. */
  take(digest: Digest): KeptPart | undefined {
    const part = this.#parts.get(digest);
    this.#parts.delete(digest);
    return part;
  }

  /** Written bytes of all kept parts: their removal would free these. */
  get bytes(): number {
    return [...this.#parts.values()].reduce((sum, part) => sum + bytesOf(part), 0);
  }

  /**
   * Keeps a part. If there are two parts of one digest, because their sizes contradict each other, the one with more
   * bytes stays: a wrong size must not discard the downloads of other clients.
   */
  async put(digest: Digest, part: Omit<KeptPart, 'keptAt'> & Partial<KeptPart>): Promise<void> {
    const earlier = this.#parts.get(digest);
    if (earlier !== undefined && bytesOf(earlier) > bytesOf(part)) return remove(part);
    // Before any await, so that concurrent calls see the new part.
    this.#parts.set(digest, { keptAt: this.#now(), ...part });
    if (earlier !== undefined) await remove(earlier);
  }

  /** Removes the kept part of a blob that is cached now. */
  async drop(digest: Digest): Promise<void> {
    const part = this.take(digest);
    if (part !== undefined) await remove(part);
  }

  /** Removes the oldest kept part; false if there is none. */
  async dropOldest(): Promise<boolean> {
    let oldest: [Digest, KeptPart] | undefined;
    for (const entry of this.#parts) {
      if (oldest === undefined || entry[1].keptAt < oldest[1].keptAt) oldest = entry;
    }
    if (oldest === undefined) return false;
    await this.drop(oldest[0]);
    return true;
  }

  close(): void {
    clearInterval(this.#sweeper);
  }

  async #adopt(path: string, room: Room): Promise<void> {
    const note = await readJournal(path);
    const file = await stat(path).catch(() => undefined);
    if (note === undefined || file?.isFile() !== true || note.written.length === 0) return;
    const hasAllWritten = note.written.every(({ end }) => end <= file.size);
    if (!hasAllWritten || file.mtimeMs < this.#now() - KEPT_FOR_MS || this.#parts.has(note.digest)) return;
    const { bytes } = new Extents(note.written);
    const reservation = await room.reserve(bytes).catch(() => undefined);
    if (reservation === undefined) return;
    const { digest, size, written } = note;
    this.#parts.set(digest, { path, size, written, keptAt: file.mtimeMs, reservation });
  }

  async #sweep(): Promise<void> {
    for (const [digest, { keptAt }] of this.#parts) {
      if (keptAt < this.#now() - KEPT_FOR_MS) await this.drop(digest);
    }
  }
}

function bytesOf({ written }: Pick<KeptPart, 'written'>): number {
  return new Extents(written).bytes;
}

async function remove({ path, reservation }: Pick<KeptPart, 'path' | 'reservation'>): Promise<void> {
  await removePart(path);
  reservation.release();
}
