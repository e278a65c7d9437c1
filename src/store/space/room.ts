import type { Tell } from '../../events/events.ts';
import { SerialQueue } from '../../lib/turns.ts';
import { NoRoomError, type Reservation, type Room } from '../room.ts';

/** Eviction in the background begins above HIGH_SHARE of the limit and ends below LOW_SHARE. */
const HIGH_SHARE = 0.95;
const LOW_SHARE = 0.9;
/**
 * Manifests, tags and links may use this share of the limit. A client that pulls only manifests must not evict all
 * blobs, and the index's file, which never shrinks, must not fill the cache.
 */
const INDEXED_SHARE = 0.1;
const MIN_INDEXED_BYTES = 32 * 1024 * 1024;
/** Pause of the background eviction after it found no image to evict. */
const REST_MS = 5000;
const CHECK_EVERY_MS = 5000;

/** Measurements on the file system, in bytes. */
export interface DiskFigures {
  free(): Promise<number>;
  /** Written bytes of parts; their reservations are for the complete blobs. */
  allocatedPartBytes(): Promise<number>;
  /** Bytes that must stay free, for writes without a reservation such as the index's pages. */
  readonly marginBytes: number;
}

/** Why images are evicted: `mark`: the high mark was passed. `room`: a fill waits for room. */
export type EvictionReason = 'mark' | 'room';

export interface DiskRoomOptions {
  readonly limitBytes: number;
  /** The part of the limit that reservations may not use: the index grows without reservations. */
  readonly indexMarginBytes: number;
  /** Bytes of blob files and of the index. */
  readonly keptBytes: () => number;
  /** The part of `keptBytes` that eviction cannot free: the index and pinned blobs. */
  readonly fixedBytes: () => number;
  /** Bytes of manifests, tags and links in the index: eviction turns them into free pages. */
  readonly indexedBytes: () => number;
  /** Free bytes inside the index's file. */
  readonly indexRoomBytes: () => number;
  readonly disk: DiskFigures;
  /** Evicts until `wanted` (bytes) is 0 or less; false if no further image may be evicted. */
  readonly evict: (reason: EvictionReason, wanted: () => Promise<number>) => Promise<boolean>;
  /** Whether evicted images can be downloaded again. */
  readonly canRefill: () => boolean;
  readonly tell: Tell<'diskFull'>;
}

export interface RoomFigures {
  /** Blobs, reservations and the index. */
  readonly usedBytes: number;
  readonly reservedBytes: number;
  readonly limitBytes: number;
}

/**
 * Keeps blobs, parts and the index together under the limit, and parts within the free space of the file system. Sizes
 * are file sizes; the overhead of file system blocks is not counted.
 */
export class DiskRoom implements Room {
  readonly #options: DiskRoomOptions;
  /** Reservations are admitted one after the other, so that each counts the ones before. */
  readonly #admissions = new SerialQueue();
  readonly #timer: NodeJS.Timeout;
  /** The limit without the margin of the index. */
  readonly #usableBytes: number;
  #soon: NodeJS.Immediate | undefined;
  #reservedBytes = 0;
  #isClosed = false;
  #isRelaxing = false;
  #restsUntil = 0;
  /** The last reservation that the file system had no room for; 0: it had room. */
  #crampedBytes = 0;
  /** The file system has less free than the margin, and eviction cannot change that. */
  #isFull = false;
  #wasCramped = false;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
    this.#usableBytes = options.limitBytes - options.indexMarginBytes;
    this.#timer = setInterval(() => void this.#check(), CHECK_EVERY_MS);
    this.#timer.unref();
  }

  /** The file system is full, or too full for the last reservation. */
  get isCramped(): boolean {
    return this.#crampedBytes > 0 || this.#isFull;
  }

  /** Checks the free space of the file system without a reservation. */
  async measure(): Promise<void> {
    const { keptBytes, fixedBytes } = this.#options;
    const missing = await this.#diskShortage(0).catch(() => 0);
    this.#isFull = missing > Math.max(0, keptBytes() - fixedBytes());
    this.#tellCramped();
  }

  figures(): RoomFigures {
    const { keptBytes, limitBytes } = this.#options;
    return {
      usedBytes: keptBytes() + this.#reservedBytes,
      reservedBytes: this.#reservedBytes,
      limitBytes,
    };
  }

  async reserve(bytes: number): Promise<Reservation> {
    await this.#take(bytes);
    let held = bytes;
    let isHeld = true;
    return {
      resize: async (next) => {
        const more = next - held;
        if (!isHeld || more === 0) return;
        if (more > 0) await this.#take(more);
        else this.#reservedBytes += more;
        held += more;
        // Released during the wait.
        if (!isHeld) this.#reservedBytes -= more;
      },
      release: () => {
        if (isHeld) this.#reservedBytes -= held;
        isHeld = false;
      },
    };
  }

  /**
   * Whether the index may grow by an entry of `bytes`; half of its margin is for the overhead of pages. It may also if
   * its file has enough free pages, or if only the index and pinned blobs are left: eviction could not help then.
   */
  mayGrow(bytes: number): boolean {
    const { limitBytes, indexMarginBytes, indexRoomBytes, fixedBytes } = this.#options;
    const { usedBytes } = this.figures();
    const wantedBytes = 2 * bytes + indexMarginBytes / 2;
    return (
      usedBytes + wantedBytes <= limitBytes || wantedBytes <= indexRoomBytes() || usedBytes <= fixedBytes()
    );
  }

  /** Starts eviction in the background if the high mark is passed. To be called after each addition. */
  relax(): void {
    if (this.#isClosed || this.#isRelaxing || performance.now() < this.#restsUntil) return;
    if (this.#overMark('high') <= 0) return;
    this.#isRelaxing = true;
    const settle = (isEnough: boolean): void => {
      this.#isRelaxing = false;
      if (!isEnough) this.#restsUntil = performance.now() + REST_MS;
    };
    this.#options
      .evict('mark', async () => this.#overMark('low'))
      .then(settle, () => {
        settle(false);
      });
  }

  /**
   * To be called after a write to the index, whose file may have grown. The check runs in the next turn: if a blob was
   * entered, its reservation is released only then.
   */
  entered(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.relax();
    });
  }

  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#soon);
    clearInterval(this.#timer);
  }

  async #take(bytes: number): Promise<void> {
    await this.#admissions.run(() => this.#admit(bytes));
    this.relax();
  }

  async #admit(bytes: number): Promise<void> {
    const { fixedBytes, evict } = this.#options;
    // No image is evicted for a reservation that could not fit into an empty cache.
    const excess = fixedBytes() + this.#reservedBytes + bytes - this.#usableBytes;
    if (excess > 0) {
      // A `cacheSize` in percent, measured on a full disk, is too low for any blob: then the disk is the reason.
      if ((await this.#diskShortage(bytes).catch(() => 0)) > 0) this.#setCramped(bytes);
      throw this.#full(excess);
    }
    if (!(await evict('room', () => this.#shortage(bytes)))) {
      const missing = await this.#diskShortage(bytes);
      if (missing <= 0) throw this.#full(await this.#shortage(bytes));
      this.#setCramped(bytes);
      throw new NoRoomError(
        `the file system has no room: ${Math.ceil(missing)} bytes are missing; free some space`,
        missing,
      );
    }
    this.#setCramped(0);
    this.#reservedBytes += bytes;
  }

  #setCramped(bytes: number): void {
    this.#crampedBytes = bytes;
    this.#tellCramped();
  }

  #tellCramped(): void {
    if (this.isCramped === this.#wasCramped) return;
    this.#wasCramped = this.isCramped;
    this.#options.tell('diskFull', { isFull: this.isCramped });
  }

  /** Bytes that must be evicted before `bytes` can be reserved. */
  async #shortage(bytes: number): Promise<number> {
    const missing = await this.#diskShortage(bytes);
    return Math.max(missing, this.figures().usedBytes + bytes - this.#usableBytes);
  }

  async #diskShortage(bytes: number): Promise<number> {
    const { disk } = this.#options;
    const promised = this.#reservedBytes + bytes;
    const missing = promised + disk.marginBytes - (await disk.free());
    // Parts have written some of their reserved bytes already. They are measured only if there is a shortage.
    return missing <= 0 ? missing : missing - Math.min(await disk.allocatedPartBytes(), this.#reservedBytes);
  }

  #overMark(mark: 'high' | 'low'): number {
    const { canRefill, fixedBytes, indexedBytes } = this.#options;
    const { usedBytes, limitBytes } = this.figures();
    // Images that cannot be downloaded again are evicted only above the limit.
    if (!canRefill()) return usedBytes - this.#usableBytes;
    const share = mark === 'high' ? HIGH_SHARE : LOW_SHARE;
    const fixed = fixedBytes();
    // If pins leave little room, eviction begins at three quarters of the rest, and ends at half of it.
    const rest = (mark === 'high' ? 0.75 : 0.5) * Math.max(0, this.#usableBytes - fixed);
    const maxBytes = Math.max(share * limitBytes, fixed + rest);
    const maxIndexedBytes = share * Math.max(INDEXED_SHARE * limitBytes, MIN_INDEXED_BYTES);
    const excess = usedBytes - maxBytes;
    // `indexedBytes` reads each table, and this runs after each write. A small index needs no such check.
    return fixed <= maxIndexedBytes ? excess : Math.max(excess, indexedBytes() - maxIndexedBytes);
  }

  #full(missingBytes: number): NoRoomError {
    const { limitBytes } = this.#options;
    return new NoRoomError(`the cache is full: cacheSize is ${limitBytes} bytes`, missingBytes);
  }

  async #check(): Promise<void> {
    if (this.#crampedBytes > 0) {
      const missing = await this.#diskShortage(this.#crampedBytes).catch(() => 1);
      if (missing <= 0) this.#setCramped(0);
    }
    await this.measure();
    this.relax();
  }
}
