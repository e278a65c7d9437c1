import { errorCode } from '../../lib/errors.ts';
import { WorkerThread } from '../../lib/worker.ts';
import type { DigestAlgorithm } from '../../oci/digest.ts';
import type { CheckOptions } from '../blobs.ts';
import { diskError } from './disk-error.ts';

/** An order to the thread. Its answer has the same `id`. */
export type HashOrder = { readonly id: number; readonly file: number } & (
  | { readonly do: 'open'; readonly path: string; readonly algorithm: DigestAlgorithm }
  | { readonly do: 'advance'; readonly end: number }
  | { readonly do: 'digest' }
  | { readonly do: 'close' }
);

export interface HashAnswer {
  readonly id: number;
  readonly hex?: string | undefined;
  /** Not an Error: a thread receives an Error without its code. */
  readonly error?: { readonly message: string; readonly code: string | undefined };
}

/** Bytes that are hashed in one order, before the orders of other files. */
const STEP_BYTES = 8 * 1024 * 1024;

/**
 * Hashes files on a worker thread; it reads bytes that are still in the page cache. On the main thread a hash would
 * take a fifth of the time of a fill, and far more on processors without SHA instructions. The thread starts with the
 * first order and keeps no process alive.
 */
export class HashThread {
  readonly #thread = new WorkerThread<DistributiveOmit<HashOrder, 'id'>, HashAnswer>({
    url: new URL('./hash-worker.js', import.meta.url),
    ended: 'the hashing thread has ended',
  });
  #lastFile = 0;

  /** Opens a file to hash it. The file may still grow. */
  open(path: string, algorithm: DigestAlgorithm): FileHash {
    const file = ++this.#lastFile;
    const opened = this.#order({ do: 'open', file, path, algorithm });
    opened.catch(() => undefined);
    return new FileHash(opened, (order) => this.#order({ ...order, file }));
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  async #order(order: DistributiveOmit<HashOrder, 'id'>): Promise<string | undefined> {
    // A thread that has ended has closed its files.
    if (order.do === 'close' && !this.#thread.isRunning) return undefined;
    const { hex, error } = await this.#thread.order(order);
    if (error !== undefined) throw hashFailure(error);
    return hex;
  }
}

function hashFailure({ message, code }: NonNullable<HashAnswer['error']>): Error {
  return Object.assign(new Error(message), { code });
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
type Order = DistributiveOmit<HashOrder, 'id' | 'file'>;

/** The hash of one growing file. Orders are executed one after the other. */
export class FileHash {
  readonly #opened: Promise<unknown>;
  readonly #order: (order: Order) => Promise<string | undefined>;
  #position = 0;
  #isClosed = false;

  constructor(opened: Promise<unknown>, order: (order: Order) => Promise<string | undefined>) {
    this.#opened = opened;
    this.#order = order;
  }

  /**
   * Continues the hash to `end`, or until `signal` aborts; a later call continues. All bytes before `end` must be
   * written. Throws the system's error.
   */
  async advance(end: number, signal?: AbortSignal): Promise<'done' | 'aborted'> {
    await this.#opened;
    while (this.#position < end) {
      if (signal?.aborted === true) return 'aborted';
      this.#position = Math.min(end, this.#position + STEP_BYTES);
      await this.#order({ do: 'advance', end: this.#position });
    }
    return 'done';
  }

  /** The hash so far, as hex digits. */
  async digest(): Promise<string> {
    return (await this.#order({ do: 'digest' })) ?? '';
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#order({ do: 'close' }).catch(() => undefined);
  }
}

export interface HashOptions extends CheckOptions {
  readonly algorithm: DigestAlgorithm;
  /** Bytes of the file. */
  readonly size: number;
}

/** The file could not be hashed to its end: it was removed or is too short, or the disk cannot read it. */
export class HashError extends Error {
  override readonly name = 'HashError';
  readonly code: 'missing' | 'short' | 'unreadable';

  constructor(code: 'missing' | 'short' | 'unreadable', path: string, cause: unknown) {
    super(`${path} cannot be hashed: ${code}`, { cause });
    this.code = code;
  }
}

const PIECE_BYTES = 4 * 1024 * 1024;
/** How long an idle thread is kept. A thread takes about 10 MB, and its start 30 ms. */
const IDLE_MS = 5000;

/** Hashes complete files. It has a thread of its own, so that fills do not wait for it. */
export class FileHasher {
  #thread: HashThread | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #hashing = 0;

  /** The hash as hex digits. Rejects with the signal's reason, or HashError. */
  async hash(path: string, options: HashOptions): Promise<string> {
    clearTimeout(this.#idleTimer);
    this.#hashing++;
    this.#thread ??= new HashThread();
    try {
      return await hashed(this.#thread, path, options);
    } finally {
      this.#hashing--;
      if (this.#hashing === 0) this.#idleTimer = setTimeout(() => void this.close(), IDLE_MS).unref();
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idleTimer);
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.close();
  }
}

async function hashed(thread: HashThread, path: string, options: HashOptions): Promise<string> {
  const { algorithm, size, signal, onBytes } = options;
  const hash = thread.open(path, algorithm);
  try {
    for (let position = 0; position < size;) {
      signal.throwIfAborted();
      const end = Math.min(size, position + PIECE_BYTES);
      await hash.advance(end).catch((error: unknown) => failed(path, error));
      await onBytes?.(end - position);
      position = end;
    }
    return await hash.digest();
  } finally {
    hash.close();
  }
}

/** HashError for an error of the file; BlobStoreError for one of the process, such as a thread that has ended. */
function failed(path: string, cause: unknown): never {
  switch (errorCode(cause)) {
    case undefined:
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOMEM':
      throw diskError(cause, `hashing ${path}`);
    case 'ENOENT':
      throw new HashError('missing', path, cause);
    case 'SHORT':
      throw new HashError('short', path, cause);
    default:
      throw new HashError('unreadable', path, cause);
  }
}
