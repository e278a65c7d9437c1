import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlobPart } from '../blob-store.ts';
import { diskError } from './disk-error.ts';

export interface DiskPartOptions {
  /** Where the blob belongs once it is whole. */
  readonly target: string;
  readonly onCommitted: (size: number) => Promise<void>;
  /** The part no longer counts as one: it is a blob now, or gone. */
  readonly onSettled: () => void;
}

/** A blob that is being filled, as a file that is read and written through one descriptor. */
export class DiskPart implements BlobPart {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #options: DiskPartOptions;
  #isSettled = false;
  #isClosed = false;

  private constructor(path: string, file: FileHandle, options: DiskPartOptions) {
    this.#path = path;
    this.#file = file;
    this.#options = options;
  }

  static async create(path: string, options: DiskPartOptions): Promise<DiskPart> {
    return new DiskPart(path, await open(path, 'wx+', 0o644), options);
  }

  async write(chunks: readonly Buffer[], position: number): Promise<void> {
    let rest = [...chunks];
    let at = position;
    try {
      while (rest.length > 0) {
        const { bytesWritten } = await this.#file.writev(rest, at);
        at += bytesWritten;
        rest = after(rest, bytesWritten);
      }
    } catch (error) {
      throw diskError(error, 'writing a part');
    }
  }

  async read(buffer: Buffer, length: number, position: number): Promise<number> {
    return (await this.#file.read(buffer, 0, length, position)).bytesRead;
  }

  async commit(size: number): Promise<void> {
    const { target, onCommitted } = this.#options;
    try {
      await this.#file.datasync();
      await mkdir(dirname(target), { recursive: true });
      await rename(this.#path, target);
      await syncDirectory(dirname(target));
    } catch (error) {
      throw diskError(error, 'keeping a blob');
    }
    await onCommitted(size);
    this.#settle();
  }

  async discard(): Promise<void> {
    await rm(this.#path, { force: true }).catch(() => undefined);
    this.#settle();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#settle();
    await this.#file.close();
  }

  #settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#options.onSettled();
  }
}

/** The chunks that are left when the first `written` bytes of them are on the disk. */
function after(chunks: readonly Buffer[], written: number): Buffer[] {
  let skip = written;
  const rest: Buffer[] = [];
  for (const chunk of chunks) {
    const known = Math.min(skip, chunk.length);
    skip -= known;
    if (known < chunk.length) rest.push(known === 0 ? chunk : chunk.subarray(known));
  }
  return rest;
}

/** A rename is durable once its directory is (fsync(2)). */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
