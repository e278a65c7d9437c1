import { statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { open, type RootDatabase } from 'lmdb';
import { withinMs } from '../../lib/deadline.ts';

/** What must stay free on the file system for LMDB to be let write: it copies every page that it changes. */
const MAX_MARGIN_BYTES = 16 * 1024 * 1024;
const MARGIN_SHARE = 0.02;
const CLOSE_WITHIN_MS = 500;
/** How long a measurement of the free space is good for. */
const MEASURED_FOR_MS = 200;

const { ENOSPC } = constants.errno;

/** The index cannot be opened: it is damaged, or something else is in its place. */
export class IndexError extends Error {
  override readonly name = 'IndexError';
  readonly code = 'index-unusable';
}

/**
 * The index could not take a change, and is as it was before; `cause` is the system's error. `full`: it was not asked,
 * since the limit of the cache is reached and nothing can go.
 */
export class IndexWriteError extends Error {
  override readonly name = 'IndexWriteError';
  readonly code: 'no-space' | 'failed' | 'full';

  constructor(code: IndexWriteError['code'], message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export interface WriteOptions {
  /** About how many bytes the change adds; default next to none. */
  readonly bytes?: number;
  /** The change makes room: it is tried however little there is. */
  readonly frees?: boolean;
}

/** One LMDB environment: a directory with one file that all tables share, so that a change of several is one. */
export class IndexEnvironment {
  readonly root: RootDatabase;
  readonly isReadOnly: boolean;
  readonly #path: string;
  #hasFailed = false;
  #onWritten: () => void = () => undefined;
  #measured: { readonly freeBytes: number; readonly marginBytes: number; readonly at: number } | undefined;

  constructor(path: string, options: { readonly readOnly: boolean }) {
    this.#path = path;
    this.isReadOnly = options.readOnly;
    try {
      // With batches by event turn, a failed commit rejects a promise inside lmdb that nobody can handle, and that
      // ends the process.
      this.root = open({ path, maxDbs: 32, readOnly: options.readOnly, eventTurnBatching: false });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new IndexError(`the index at ${path} cannot be opened: ${reason}`, { cause });
    }
  }

  /** `listener` is called after every change: the file may have grown. */
  onWritten(listener: () => void): void {
    this.#onWritten = listener;
  }

  /**
   * Runs `change` as one durable transaction. Throws IndexWriteError, and then nothing of it is kept.
   * A full disk is seen here before LMDB sees it: large transactions that run into one have crashed the process.
   */
  async write<T>(change: () => T, options: WriteOptions = {}): Promise<T> {
    if (options.frees !== true) await this.#requireRoom(options.bytes ?? 0);
    try {
      const result = await this.root.transaction(change);
      this.#hasFailed = false;
      this.#onWritten();
      return result;
    } catch (error) {
      this.#hasFailed = true;
      throw await writeError(error);
    }
  }

  /** What was committed is on the disk already. */
  async close(): Promise<void> {
    const closed = this.root.close();
    // lmdb waits for ever for the flush of a commit that has failed.
    await (this.#hasFailed ? withinMs(closed, CLOSE_WITHIN_MS) : closed);
  }

  /** The size of the index's file: it never shrinks, what is removed makes room for what comes. */
  fileBytes(): number {
    const { lastPageNumber, pageSize } = this.root.getStats() as { lastPageNumber: number; pageSize: number };
    return (lastPageNumber + 1) * pageSize;
  }

  /** Whether the file system is so full that only changes which make room are tried. */
  async isCramped(): Promise<boolean> {
    const { freeBytes, marginBytes } = await this.#measure();
    return freeBytes < marginBytes;
  }

  async #requireRoom(bytes: number): Promise<void> {
    const { freeBytes, marginBytes } = await this.#measure();
    if (freeBytes >= marginBytes + 2 * bytes) return;
    throw new IndexWriteError('no-space', `the index has no room: only ${freeBytes} bytes are free`);
  }

  async #measure() {
    const known = this.#measured;
    const at = performance.now();
    if (known !== undefined && at - known.at < MEASURED_FOR_MS) return known;
    const { bavail, blocks, bsize } = await statfs(this.#path).catch((cause: unknown) => {
      throw new IndexWriteError('failed', 'the file system of the index does not answer', cause);
    });
    const marginBytes = Math.min(MAX_MARGIN_BYTES, blocks * bsize * MARGIN_SHARE);
    return (this.#measured = { freeBytes: bavail * bsize, marginBytes, at });
  }
}

/** LMDB's error as ours; lmdb hands the system's out as a promise of its own, which must not stay unhandled. */
async function writeError(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error)) return thrown;
  const commitError = 'commitError' in thrown ? (thrown.commitError as Promise<unknown>) : undefined;
  const system = commitError?.catch((reason: unknown) => reason);
  const cause = await Promise.race([system ?? thrown, turn(thrown)]);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (commitError === undefined && typeof code !== 'number') return thrown;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const kind = code === ENOSPC ? 'no-space' : 'failed';
  return new IndexWriteError(kind, `the index cannot be written: ${reason}`, cause);
}
