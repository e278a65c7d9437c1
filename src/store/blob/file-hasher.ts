import { errorCode } from '../../lib/error-code.ts';
import type { DigestAlgorithm } from '../../oci/digest.ts';
import { diskError } from './disk-error.ts';
import { HashThread } from './hash-thread.ts';

export interface HashOptions {
  readonly algorithm: DigestAlgorithm;
  /** Of the file, in bytes. */
  readonly size: number;
  readonly signal: AbortSignal;
  /** Told of every piece that was hashed; hashing waits for what it returns. */
  readonly onBytes?: (bytes: number) => Promise<void> | void;
}

/** The file could not be hashed to its end: it has gone or become shorter meanwhile, or the disk cannot read it. */
export class HashError extends Error {
  override readonly name = 'HashError';
  readonly code: 'missing' | 'short' | 'unreadable';

  constructor(code: 'missing' | 'short' | 'unreadable', path: string, cause: unknown) {
    super(`${path} cannot be hashed: ${code}`, { cause });
    this.code = code;
  }
}

const PIECE_BYTES = 4 * 1024 * 1024;
/** How long an idle thread is kept: it costs some 10 MB, and starting one 30 ms. */
const IDLE_MS = 5000;

/** Hashes whole files on a thread, apart from that of the fills, which must not wait for it. */
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

/** What the system said of the file, as far as it says anything of it: a thread that has ended does not. */
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
