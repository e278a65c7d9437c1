import type { FileHandle } from 'node:fs/promises';
import { openRegularFile } from '../../lib/files.ts';
import type { Read, SharedBlocks } from '../part/blocks.ts';

export interface OpenFilesOptions {
  /** Files that are kept open although nobody reads them. */
  readonly maxIdle: number;
  /** How long they are. */
  readonly idleMs: number;
  /** Files up to this size are read whole and closed at once. */
  readonly maxContentBytes: number;
  /** What all contents may take; while they do, further small files are read like large ones. */
  readonly maxContentsBytes: number;
  /** For files that have several readers. */
  readonly blocks: SharedBlocks;
}

/** A file that is open for one reader. */
export interface Lease {
  /** Bytes, as of now; as of when it was opened if `content` is there. */
  readonly size: number;
  /** All of it, if it is small. */
  readonly content: Buffer | undefined;
  readonly read: Read;
  /** Safe to call more than once. */
  release(): void;
}

interface Entry {
  readonly source: FileHandle | Buffer;
  /** For one reader, and for one of several. */
  readonly read: Read;
  readonly readShared: Read;
  users: number;
  idleSince: number;
  isForgotten: boolean;
}

/**
 * Files stay open for a moment after their last reader: a blob that a fleet pulls is asked for again at once, and to
 * open and close it costs more than to read it. Small ones stay in memory instead, since each call to the file system
 * goes through the thread pool and back, which costs more than to send them.
 */
export class OpenFiles {
  readonly #options: OpenFilesOptions;
  /** In the order in which they became idle, as far as they are. */
  readonly #entries = new Map<string, Promise<Entry>>();
  readonly #idle = new Map<string, Entry>();
  #contentsBytes = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: OpenFilesOptions) {
    this.#options = options;
  }

  /** Throws the system's error if the file cannot be opened, or NotAFileError. */
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

  /** The next reader opens the file anew; to be called when it is removed or replaced. */
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
    // One byte more, to see a file that is not as it was a moment ago: such a one is read like a large one.
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
