import type { FileHandle } from 'node:fs/promises';
import { openRegularFile } from '../../lib/files.ts';
import type { Read, SharedBlocks } from '../part/blocks.ts';

export interface OpenFilesOptions {
  /** Number of files that stay open without a reader. */
  readonly maxIdle: number;
  /** How long a file stays open without a reader. */
  readonly idleMs: number;
  /** Files up to this size are read into memory and closed at once. */
  readonly maxContentBytes: number;
  /** Memory for all these files. When it is full, further small files are read like large ones. */
  readonly maxContentsBytes: number;
  /** For files with several readers. */
  readonly blocks: SharedBlocks;
}

/** A file that is open for one reader. */
export interface Lease {
  /** Bytes now, or at opening if `content` is set. */
  readonly size: number;
  /** All bytes of a small file. */
  readonly content: Buffer | undefined;
  readonly read: Read;
  /** Safe to call more than once. */
  release(): void;
}

interface Entry {
  readonly source: FileHandle | Buffer;
  readonly read: Read;
  /** For a file with several readers. */
  readonly readShared: Read;
  users: number;
  idleSince: number;
  isForgotten: boolean;
}

/**
 * Keeps files open for a moment after their last reader. Many clients request the same blob at nearly the same time,
 * and opening and closing a file costs more than reading it. Small files stay in memory instead: one file system call
 * goes through the thread pool, which costs more than sending the bytes.
 */
export class OpenFiles {
  readonly #options: OpenFilesOptions;
  readonly #entries = new Map<string, Promise<Entry>>();
  /** In the order in which they became idle. */
  readonly #idle = new Map<string, Entry>();
  #contentsBytes = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: OpenFilesOptions) {
    this.#options = options;
  }

  /** Throws the system's error if the file cannot be opened, or NotAFileError. */
  async lease(path: string): Promise<Lease> {
    const entry = await (this.#entries.get(path) ?? this.#open(path));
    // Forgotten, and perhaps closed, while this call waited.
    if (entry.isForgotten) return this.lease(path);
    entry.users++;
    this.#idle.delete(path);
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      this.#released(path, entry);
    };
    const { source } = entry;
    const read: Read = (...where) => (entry.users > 1 ? entry.readShared : entry.read)(...where);
    if (Buffer.isBuffer(source)) {
      return { size: source.length, content: source, read: entry.read, release };
    }
    try {
      const { size } = await source.stat();
      return { size, content: undefined, read, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The next reader opens the file again. Must be called when the file is removed or replaced. */
  forget(path: string): void {
    const opening = this.#entries.get(path);
    this.#entries.delete(path);
    this.#idle.delete(path);
    void opening?.then(
      (entry) => {
        entry.isForgotten = true;
        if (entry.users === 0) this.#end(entry);
      },
      () => undefined,
    );
  }

  close(): void {
    clearInterval(this.#sweeper);
    for (const path of this.#entries.keys()) this.forget(path);
  }

  #open(path: string): Promise<Entry> {
    const opening = this.#openEntry(path);
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
      this.#end(entry);
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

  async #openEntry(path: string): Promise<Entry> {
    const file = await openRegularFile(path);
    const content = await this.#smallContent(file).catch(async (error: unknown) => {
      await file.close();
      throw error;
    });
    if (content !== undefined) await file.close();
    const read: Read =
      content === undefined
        ? async (buffer, length, position) => (await file.read(buffer, 0, length, position)).bytesRead
        : async (buffer, length, position) => content.copy(buffer, 0, position, position + length);
    const readShared = this.#options.blocks.share(read);
    return { source: content ?? file, read, readShared, users: 0, idleSince: 0, isForgotten: false };
  }

  async #smallContent(file: FileHandle): Promise<Buffer | undefined> {
    const { maxContentBytes, maxContentsBytes } = this.#options;
    const { size } = await file.stat();
    if (size > maxContentBytes || this.#contentsBytes + size > maxContentsBytes) return undefined;
    this.#contentsBytes += size;
    // One byte more, to notice a file that has just changed its size. Such a file is read like a large one.
    const buffer = Buffer.allocUnsafeSlow(size + 1);
    const read = await file.read(buffer, 0, size + 1, 0).catch(() => undefined);
    if (read?.bytesRead === size) return buffer.subarray(0, size);
    this.#contentsBytes -= size;
    return undefined;
  }

  #end({ source }: Entry): void {
    if (Buffer.isBuffer(source)) this.#contentsBytes -= source.length;
    else source.close().catch(() => undefined);
  }
}
