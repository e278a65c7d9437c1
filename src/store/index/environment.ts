import { statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { open, type RootDatabase } from 'lmdb';
import type { Tell } from '../../events/events.ts';
import { errorCode } from '../../lib/errors.ts';
import { withinMs } from '../../lib/promises.ts';

/** Free bytes that a write needs on the file system: LMDB copies each page that it changes. */
const MAX_MARGIN_BYTES = 16 * 1024 * 1024;
const MARGIN_SHARE = 0.02;
const CLOSE_WITHIN_MS = 500;
/** Small changes in one transaction: it blocks the event loop for about 10 ms. */
export const CHANGES_PER_TURN = 2000;
/** How long a measurement of the free space is used. */
const MEASURED_FOR_MS = 200;

/** The file name that LMDB uses. */
export const DATA_FILE = 'data.mdb';

const { ENOSPC } = constants.errno;

/** Errors after which LMDB cannot use an open index (lmdb.h): it must be opened again. */
const UNUSABLE: ReadonlyMap<number, string> = new Map([
  [-30797, 'MDB_PAGE_NOTFOUND'],
  [-30796, 'MDB_CORRUPTED'],
  [-30795, 'MDB_PANIC'],
  [-30794, 'MDB_VERSION_MISMATCH'],
  [-30793, 'MDB_INVALID'],
  [-30784, 'MDB_INCOMPATIBLE'],
]);

/** The same for reads: for a damaged page within a read transaction, lmdb reports only MDB_BAD_TXN. */
const UNREADABLE: ReadonlyMap<number, string> = new Map([...UNUSABLE, [-30782, 'MDB_BAD_TXN']]);

/** The index cannot be opened: it is damaged, or its path has something else. */
export class IndexError extends Error {
  override readonly name = 'IndexError';
  readonly code = 'index-unusable';
}

/**
 * The index was not changed; `cause` is the system's error. `full`: not tried, because `cacheSize` is reached and no
 * image may be evicted. `unusable`: not tried, because the index is damaged.
 */
export class IndexWriteError extends Error {
  override readonly name = 'IndexWriteError';
  readonly code: 'no-space' | 'failed' | 'full' | 'unusable';

  constructor(code: IndexWriteError['code'], message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export interface WriteOptions {
  /** About how many bytes the change adds; default 0. */
  readonly bytes?: number;
  /** The change makes room: it is tried on a full disk too. */
  readonly frees?: boolean;
}

/** Statistics of lmdb that its types leave out. */
interface FileStats {
  readonly lastPageNumber: number;
  readonly pageSize: number;
}

export interface EnvironmentOptions {
  readonly readOnly: boolean;
  readonly tell?: Tell<'indexDamaged'> | undefined;
}

/** One LMDB environment: a directory with one file for all tables, so that one transaction can change several. */
export class IndexEnvironment {
  readonly root: RootDatabase;
  readonly isReadOnly: boolean;
  /** By name. */
  readonly tables = new Map<string, { readonly bytes: number }>();
  readonly #path: string;
  #hasFailed = false;
  #isUnusable = false;
  #isChanging = false;
  #problem: string | undefined;
  #closed: Promise<void> | undefined;
  #onWritten: () => void = () => undefined;
  readonly #tell: Tell<'indexDamaged'>;
  #measured: { readonly freeBytes: number; readonly marginBytes: number; readonly at: number } | undefined;

  constructor(path: string, options: EnvironmentOptions) {
    this.#path = path;
    this.isReadOnly = options.readOnly;
    this.#tell = options.tell ?? (() => undefined);
    try {
      // With eventTurnBatching a failed commit rejects a promise inside lmdb that no caller can handle; the unhandled
      // rejection ends the process.
      this.root = open({ path, maxDbs: 32, readOnly: options.readOnly, eventTurnBatching: false });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new IndexError(`the index at ${path} cannot be opened: ${reason}`, { cause });
    }
  }

  /** Why the next start must make a new index; undefined: no damage was found. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Returns what `look` reads, or `otherwise` if that is damaged: no caller could repair the damage. A transaction that
   * reads damaged data is rolled back.
   */
  read<T>(look: () => T, otherwise: T): T {
    for (let isFirst = true; ; isFirst = false) {
      try {
        return look();
      } catch (error) {
        const code = codeOfLmdb(error);
        // No error of LMDB: the value cannot be decoded.
        if (code === undefined) return otherwise;
        if (isFirst && !this.#isChanging) {
          // After one failed read LMDB refuses all reads of the same transaction.
          this.root.resetReadTxn();
          continue;
        }
        this.#note(code, this.#isChanging ? UNUSABLE : UNREADABLE);
        if (this.#isUnusable) return otherwise;
        throw error;
      }
    }
  }

  /** `listener` is called after each transaction: the file may have grown. */
  onWritten(listener: () => void): void {
    this.#onWritten = listener;
  }

  /**
   * Runs `change` as one durable transaction. Throws IndexWriteError, and then nothing was changed.
   * After LMDB has found a damaged page, no change is tried: such changes have crashed the process. The free space is
   * checked before LMDB writes: large transactions on a full disk have crashed the process too.
   */
  async write<T>(change: () => T, options: WriteOptions = {}): Promise<T> {
    if (this.#isUnusable) throw this.#unusable();
    if (options.frees !== true) await this.#requireRoom(options.bytes ?? 0);
    try {
      const result = await this.root.transaction(() => this.#change(change));
      this.#hasFailed = false;
      this.#onWritten();
      return result;
    } catch (error) {
      this.#hasFailed = true;
      const failure = await writeError(error);
      this.#note(codeOfLmdb(failure instanceof IndexWriteError ? failure.cause : failure), UNUSABLE);
      throw failure;
    }
  }

  /**
   * Runs `change` for each item, in several transactions with turns of the event loop between them. It can stop after
   * any of them. Throws IndexWriteError.
   */
  async writeEach<I>(items: Iterable<I>, change: (item: I) => void): Promise<void> {
    let some: I[] = [];
    const writeSome = async (): Promise<void> => {
      const due = some;
      some = [];
      await this.write(() => due.forEach(change));
    };
    for (const item of items) {
      some.push(item);
      if (some.length === CHANGES_PER_TURN) await writeSome();
    }
    if (some.length > 0) await writeSome();
  }

  /** Committed transactions are on the disk already. Safe to call more than once. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const closed = this.root.close();
    // After a failed commit, lmdb waits for its flush for ever.
    await (this.#hasFailed ? withinMs(closed, CLOSE_WITHIN_MS) : closed);
  }

  /** Size of the index's file. It never shrinks: removed entries leave free pages for new ones. */
  fileBytes(): number {
    const { lastPageNumber, pageSize } = this.read(() => this.root.getStats(), {}) as Partial<FileStats>;
    return ((lastPageNumber ?? 0) + 1) * (pageSize ?? 0);
  }

  /** Bytes of the file that tables use, except the tables `without`. */
  usedBytes(without: ReadonlySet<string> = new Set()): number {
    let bytes = 0;
    for (const [name, table] of this.tables) if (!without.has(name)) bytes += table.bytes;
    return bytes;
  }

  /** Whether the file system is so full that only changes with `frees` are tried. */
  async isCramped(): Promise<boolean> {
    const { freeBytes, marginBytes } = await this.#measure();
    return freeBytes < marginBytes;
  }

  #change<T>(change: () => T): T {
    this.#isChanging = true;
    try {
      const changed = change();
      if (this.#isUnusable) throw this.#unusable();
      return changed;
    } finally {
      this.#isChanging = false;
    }
  }

  #unusable(): IndexWriteError {
    return new IndexWriteError('unusable', `the index is not changed: ${this.#problem}`);
  }

  #note(code: number | undefined, problems: ReadonlyMap<number, string>): void {
    const problem = code === undefined ? undefined : problems.get(code);
    if (problem === undefined) return;
    this.#isUnusable = true;
    this.#found(problem);
  }

  #found(problem: string): void {
    if (this.#problem !== undefined) return;
    this.#problem = problem;
    this.#tell('indexDamaged', { reason: problem });
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
    const { bavail, blocks, bsize } = await this.#fileSystem().catch((cause: unknown) => {
      throw new IndexWriteError('failed', 'the file system of the index does not answer', cause);
    });
    const marginBytes = Math.min(MAX_MARGIN_BYTES, blocks * bsize * MARGIN_SHARE);
    return (this.#measured = { freeBytes: bavail * bsize, marginBytes, at });
  }

  /** An index whose file was removed still works, but the next start does not find it. */
  async #fileSystem() {
    try {
      return await statfs(join(this.#path, DATA_FILE));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      this.#found('its file was removed');
      return statfs(dirname(this.#path));
    }
  }
}

function codeOfLmdb(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/** LMDB's error as IndexWriteError. lmdb gives the system's error as a promise, whose rejection must be handled. */
async function writeError(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error)) return thrown;
  const commitError = 'commitError' in thrown ? (thrown.commitError as Promise<unknown>) : undefined;
  const system = commitError?.catch((reason: unknown) => reason);
  const cause = await Promise.race([system ?? thrown, turn(thrown)]);
  const code = codeOfLmdb(cause);
  if (commitError === undefined && code === undefined) return thrown;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const kind = code === ENOSPC ? 'no-space' : 'failed';
  return new IndexWriteError(kind, `the index cannot be written: ${reason}`, cause);
}
