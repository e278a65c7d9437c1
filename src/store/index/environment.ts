import { statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { open, type RootDatabase } from 'lmdb';
import type { Tell } from '../../events/events.ts';
import { errorCode } from '../../lib/errors.ts';
import { withinMs } from '../../lib/promises.ts';

/** What must stay free on the file system for LMDB to be let write: it copies every page that it changes. */
const MAX_MARGIN_BYTES = 16 * 1024 * 1024;
const MARGIN_SHARE = 0.02;
const CLOSE_WITHIN_MS = 500;
/** Changes of a few records each that one transaction makes before others have a turn: some 10 ms. */
export const CHANGES_PER_TURN = 2000;
/** How long a measurement of the free space is good for. */
const MEASURED_FOR_MS = 200;

/** What LMDB calls its file. */
export const DATA_FILE = 'data.mdb';

const { ENOSPC } = constants.errno;

/** What LMDB says of an index that it cannot go on with (lmdb.h): only one that is opened anew can be used. */
const UNUSABLE: ReadonlyMap<number, string> = new Map([
  [-30797, 'MDB_PAGE_NOTFOUND'],
  [-30796, 'MDB_CORRUPTED'],
  [-30795, 'MDB_PANIC'],
  [-30794, 'MDB_VERSION_MISMATCH'],
  [-30793, 'MDB_INVALID'],
  [-30784, 'MDB_INCOMPATIBLE'],
]);

/** The same for reads: where one finds such a page within its own transaction, that is all that lmdb hands on. */
const UNREADABLE: ReadonlyMap<number, string> = new Map([...UNUSABLE, [-30782, 'MDB_BAD_TXN']]);

/** The index cannot be opened: it is damaged, or something else is in its place. */
export class IndexError extends Error {
  override readonly name = 'IndexError';
  readonly code = 'index-unusable';
}

/**
 * The index could not take a change, and is as it was before; `cause` is the system's error. `full`: it was not asked,
 * since the limit of the cache is reached and nothing can go. `unusable`: it was not asked, since it is damaged.
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
  /** About how many bytes the change adds; default next to none. */
  readonly bytes?: number;
  /** The change makes room: it is tried however little there is. */
  readonly frees?: boolean;
}

/** What lmdb gives in part of its statistics. */
interface FileStats {
  readonly lastPageNumber: number;
  readonly pageSize: number;
}

export interface EnvironmentOptions {
  readonly readOnly: boolean;
  readonly tell?: Tell<'indexDamaged'> | undefined;
}

/** One LMDB environment: a directory with one file that all tables share, so that a change of several is one. */
export class IndexEnvironment {
  readonly root: RootDatabase;
  readonly isReadOnly: boolean;
  /** By their names. */
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
      // With batches by event turn, a failed commit rejects a promise inside lmdb that nobody can handle, and that
      // ends the process.
      this.root = open({ path, maxDbs: 32, readOnly: options.readOnly, eventTurnBatching: false });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new IndexError(`the index at ${path} cannot be opened: ${reason}`, { cause });
    }
  }

  /** Why the next start has to make a new one; undefined: it need not, as far as anybody has seen. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * What `look` reads, or `otherwise` where that is damaged: every reader would have to expect what none can do anything
   * about. A change during which this happens is not kept.
   */
  read<T>(look: () => T, otherwise: T): T {
    for (let isFirst = true; ; isFirst = false) {
      try {
        return look();
      } catch (error) {
        const code = codeOfLmdb(error);
        // A value that cannot be decoded.
        if (code === undefined) return otherwise;
        if (isFirst && !this.#isChanging) {
          // Where one read has failed LMDB refuses all others, until its transaction is another one.
          this.root.resetReadTxn();
          continue;
        }
        this.#note(code, this.#isChanging ? UNUSABLE : UNREADABLE);
        if (this.#isUnusable) return otherwise;
        throw error;
      }
    }
  }

  /** `listener` is called after every change: the file may have grown. */
  onWritten(listener: () => void): void {
    this.#onWritten = listener;
  }

  /**
   * Runs `change` as one durable transaction. Throws IndexWriteError, and then nothing of it is kept. Where LMDB has found
   * a damaged page it is not asked any more: a change on top of that has ended processes.
   * A full disk is seen here before LMDB sees it: large transactions that run into one have crashed the process.
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
   * Runs `change` for each of the items, in as many transactions as leave others their turns in between: one may be
   * cut off after any of them. Throws IndexWriteError.
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

  /** What was committed is on the disk already. Safe to call more than once. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const closed = this.root.close();
    // lmdb waits for ever for the flush of a commit that has failed.
    await (this.#hasFailed ? withinMs(closed, CLOSE_WITHIN_MS) : closed);
  }

  /** The size of the index's file: it never shrinks, what is removed makes room for what comes. */
  fileBytes(): number {
    const { lastPageNumber, pageSize } = this.read(() => this.root.getStats(), {}) as Partial<FileStats>;
    return ((lastPageNumber ?? 0) + 1) * (pageSize ?? 0);
  }

  /** What the tables take of it, those of `without` left out; the rest of the file is free for what comes. */
  usedBytes(without: ReadonlySet<string> = new Set()): number {
    let bytes = 0;
    for (const [name, table] of this.tables) if (!without.has(name)) bytes += table.bytes;
    return bytes;
  }

  /** Whether the file system is so full that only changes which make room are tried. */
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

  /** An index whose file was removed works on, but the next start does not find it. */
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

/** LMDB's error as ours; lmdb hands the system's out as a promise of its own, which must not stay unhandled. */
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
