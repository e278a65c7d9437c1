import type { Tell } from '../../events/events.ts';
import { SerialQueue } from '../../lib/turns.ts';
import { NoRoomError, type Reservation, type Room } from '../part/health.ts';

/** Eviction begins here and ends there, as shares of the limit; the rest is for what comes while it runs. */
const HIGH_SHARE = 0.95;
const LOW_SHARE = 0.9;
/**
 * Manifests, tags and links may come to this share: a client that reads nothing else must not push out all blobs, and
 * the file of the index, which never shrinks, must not take the place of everything.
 */
const INDEXED_SHARE = 0.1;
const MIN_INDEXED_BYTES = 32 * 1024 * 1024;
/** How long nothing is tried in the background after nothing could be evicted. */
const REST_MS = 5000;
const CHECK_EVERY_MS = 5000;

/** What is measured on the file system, in bytes. */
export interface DiskFigures {
  free(): Promise<number>;
  /** What parts take: written, while their reservations are for all of them. */
  allocatedPartBytes(): Promise<number>;
  /** To be left free for what is not counted, such as the index's next pages. */
  readonly marginBytes: number;
}

/** Why something is evicted: the high mark was passed, or somebody waits for room. */
export type EvictionReason = 'mark' | 'room';

export interface DiskRoomOptions {
  readonly limitBytes: number;
  /** Of the limit, what no reservation may use: the index grows by what nobody has reserved. */
  readonly indexMarginBytes: number;
  /** Blobs whose files are there, and the index. */
  readonly keptBytes: () => number;
  /** The part of `keptBytes` that no eviction can free: the index, and what is pinned. */
  readonly fixedBytes: () => number;
  /** What manifests, tags and links take of the index, and eviction can give back to it. */
  readonly indexedBytes: () => number;
  /** What can be entered in the index before its file grows. */
  readonly indexRoomBytes: () => number;
  readonly disk: DiskFigures;
  /** Evicts until `wanted` is 0 or less; false if there was not enough to be evicted. */
  readonly evict: (reason: EvictionReason, wanted: () => Promise<number>) => Promise<boolean>;
  /** Whether what is evicted could be fetched again. */
  readonly canRefill: () => boolean;
  /** Told when the file system has no room any more, and when it has again. */
  readonly tell: Tell<'diskFull'>;
}

export interface RoomFigures {
  /** Blobs, reservations and the index. */
  readonly usedBytes: number;
  readonly reservedBytes: number;
  readonly limitBytes: number;
}

/**
 * Keeps blobs, parts and the index together under the limit, and parts within what the file system has free. Sizes
 * are those of the files; what a file system adds by its blocks is not counted.
 */
export class DiskRoom implements Room {
  readonly #options: DiskRoomOptions;
  /** Reservations are admitted one after the other: each sees what the one before took. */
  readonly #admissions = new SerialQueue();
  readonly #timer: NodeJS.Timeout;
  /** What blobs, parts and the index may come to before the index grows into the rest. */
  readonly #usableBytes: number;
  #soon: NodeJS.Immediate | undefined;
  #reservedBytes = 0;
  #isClosed = false;
  #isRelaxing = false;
  #restsUntil = 0;
  /** What the file system had no room for when last asked; 0 if it had. */
  #crampedBytes = 0;
  /** It has less than its margin, and no eviction would bring that back. */
  #isFull = false;
  #wasCramped = false;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
    this.#usableBytes = options.limitBytes - options.indexMarginBytes;
    this.#timer = setInterval(() => void this.#check(), CHECK_EVERY_MS);
    this.#timer.unref();
  }

  /** The file system itself is full, or too full for what was last asked for. */
  get isCramped(): boolean {
    return this.#crampedBytes > 0 || this.#isFull;
  }

  /** Looks whether the file system has room, which it may not have before anything is asked for. */
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
        // Released while it waited.
        if (!isHeld) this.#reservedBytes -= more;
      },
      release: () => {
        if (isHeld) this.#reservedBytes -= held;
        isHeld = false;
      },
    };
  }

  /**
   * Whether a content of so many bytes may be entered in the index; half of its margin is for what its pages take
   * besides. It may where what was evicted has left room inside the file, and where nothing but the index and the pins
   * is left, since no eviction could bring that under the limit.
   */
  mayGrow(bytes: number): boolean {
    const { limitBytes, indexMarginBytes, indexRoomBytes, fixedBytes } = this.#options;
    const { usedBytes } = this.figures();
    const wantedBytes = 2 * bytes + indexMarginBytes / 2;
    return (
      usedBytes + wantedBytes <= limitBytes || wantedBytes <= indexRoomBytes() || usedBytes <= fixedBytes()
    );
  }

  /** Starts eviction in the background if there is too much; to be called when something was added. */
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
   * To be called when something was entered in the index, whose file may have grown by it. It is looked at in the
   * next turn: what was entered may have been a blob, whose reservation counts until then.
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
    // Nothing is evicted for what cannot fit whatever goes.
    const excess = fixedBytes() + this.#reservedBytes + bytes - this.#usableBytes;
    if (excess > 0) {
      // Measured on a disk that was full already, the limit is too low for anything.
      if ((await this.#diskShortage(bytes).catch(() => 0)) > 0) this.#setCramped(bytes);
      throw this.#full(excess);
    }
    if (!(await evict('room', () => this.#shortage(bytes)))) {
      const missing = await this.#diskShortage(bytes);
      if (missing <= 0) throw this.#full(await this.#shortage(bytes));
      this.#setCramped(bytes);
      throw new NoRoomError(
        `the file system lacks ${Math.ceil(missing)} bytes of the room that is needed`,
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

  /** How much must go before `bytes` can be held. */
  async #shortage(bytes: number): Promise<number> {
    const missing = await this.#diskShortage(bytes);
    return Math.max(missing, this.figures().usedBytes + bytes - this.#usableBytes);
  }

  async #diskShortage(bytes: number): Promise<number> {
    const { disk } = this.#options;
    const promised = this.#reservedBytes + bytes;
    const missing = promised + disk.marginBytes - (await disk.free());
    // Parts have taken some of what they were promised already; looked up only when it matters.
    return missing <= 0 ? missing : missing - Math.min(await disk.allocatedPartBytes(), this.#reservedBytes);
  }

  #overMark(mark: 'high' | 'low'): number {
    const { canRefill, fixedBytes, indexedBytes } = this.#options;
    const { usedBytes, limitBytes } = this.figures();
    // What upstream cannot give back goes only when it must.
    if (!canRefill()) return usedBytes - this.#usableBytes;
    const share = mark === 'high' ? HIGH_SHARE : LOW_SHARE;
    const fixed = fixedBytes();
    // Where pins leave little, not all of it goes each time: only half, once three quarters are used.
    const rest = (mark === 'high' ? 0.75 : 0.5) * Math.max(0, this.#usableBytes - fixed);
    const maxBytes = Math.max(share * limitBytes, fixed + rest);
    const maxIndexedBytes = share * Math.max(INDEXED_SHARE * limitBytes, MIN_INDEXED_BYTES);
    const excess = usedBytes - maxBytes;
    // Each table has to be asked, and this runs after every write: only where the whole index could be too large.
    return fixed <= maxIndexedBytes ? excess : Math.max(excess, indexedBytes() - maxIndexedBytes);
  }

  #full(missingBytes: number): NoRoomError {
    return new NoRoomError(`the cache is full: its limit is ${this.#options.limitBytes} bytes`, missingBytes);
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
