import { open, type FileHandle } from 'node:fs/promises';

export interface OpenFilesOptions {
  /** Files that are kept open although nobody reads them. */
  readonly maxIdle: number;
  /** How long they are. */
  readonly idleMs: number;
}

/** A file that is open for one reader. */
export interface Lease {
  /** Bytes, as of now. */
  readonly size: number;
  /** Reads up to `length` bytes at `position` into the start of `buffer`; resolves to how many, 0 at the end. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  /** Safe to call more than once. */
  release(): void;
}

interface Entry {
  readonly file: FileHandle;
  users: number;
  idleSince: number;
  isForgotten: boolean;
}

/**
 * Files stay open for a moment after their last reader: a blob that a fleet pulls is asked for again at once, and to
 * open and close it costs more than to read it when it is small.
 */
export class OpenFiles {
  readonly #options: OpenFilesOptions;
  /** In the order in which they became idle, as far as they are. */
  readonly #entries = new Map<string, Promise<Entry>>();
  readonly #idle = new Map<string, Entry>();
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: OpenFilesOptions) {
    this.#options = options;
  }

  /** Throws the system's error if the file cannot be opened. */
  async lease(path: string): Promise<Lease> {
    const entry = await (this.#entries.get(path) ?? this.#open(path));
    // Forgotten, and perhaps closed, while this one waited for it.
    if (entry.isForgotten) return this.lease(path);
    entry.users++;
    this.#idle.delete(path);
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      this.#released(path, entry);
    };
    try {
      const { size } = await entry.file.stat();
      const read: Lease['read'] = async (buffer, length, position) =>
        (await entry.file.read(buffer, 0, length, position)).bytesRead;
      return { size, read, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The next reader opens the file anew; to be called when it is removed or replaced. */
  forget(path: string): void {
    const opening = this.#entries.get(path);
    this.#entries.delete(path);
    this.#idle.delete(path);
    void opening?.then(
      (entry) => {
        entry.isForgotten = true;
        if (entry.users === 0) entry.file.close().catch(() => undefined);
      },
      () => undefined,
    );
  }

  close(): void {
    clearInterval(this.#sweeper);
    for (const path of this.#entries.keys()) this.forget(path);
  }

  #open(path: string): Promise<Entry> {
    const opening = openEntry(path);
    this.#entries.set(path, opening);
    opening.catch(() => {
      if (this.#entries.get(path) === opening) this.#entries.delete(path);
    });
    return opening;
  }

  #released(path: string, entry: Entry): void {
    entry.users--;
    if (entry.users > 0) return;
    if (entry.isForgotten) {
      entry.file.close().catch(() => undefined);
      return;
    }
    entry.idleSince = performance.now();
    this.#idle.set(path, entry);
    const [coldest] = this.#idle.keys();
    if (this.#idle.size > this.#options.maxIdle && coldest !== undefined) this.forget(coldest);
    this.#sweeper ??= setInterval(() => this.#sweep(), this.#options.idleMs / 2).unref();
  }

  #sweep(): void {
    const before = performance.now() - this.#options.idleMs;
    for (const [path, { idleSince }] of this.#idle) {
      if (idleSince > before) return;
      this.forget(path);
    }
    if (this.#idle.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }
}

async function openEntry(path: string): Promise<Entry> {
  return { file: await open(path, 'r'), users: 0, idleSince: 0, isForgotten: false };
}
