import { constants } from 'node:fs';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from '../../lib/errors.ts';
import { Extents, type Extent } from '../../lib/extents.ts';
import { openRegularFile } from '../../lib/files.ts';
import { digestAlgorithm, digestHex, type Digest } from '../../oci/digest.ts';
import type { BlobPart } from '../blobs.ts';
import { FILE_MODE, FOLDER_MODE } from '../owner-only.ts';
import type { Reservation } from '../room.ts';
import { BLOCK_BYTES, type Read, type SharedBlocks } from './blocks.ts';
import { diskError } from './disk-error.ts';
import type { DiskHealth } from './disk-health.ts';
import type { FileHash, HashThread } from './hashing.ts';
import { removeJournal, removePart, writeJournal } from './journal.ts';
import type { KeptPart } from './kept.ts';

/** The reservation of a blob of unknown size grows by this step. */
const GROWTH_BYTES = 16 * 1024 * 1024;
const KEPT_FLAGS = constants.O_RDWR | constants.O_NOFOLLOW;

export interface DiskPartOptions {
  readonly digest: Digest;
  /** Size of the blob in bytes; undefined if unknown. */
  readonly size: number | undefined;
  readonly path: string;
  /** The path of the complete blob. */
  readonly target: string;
  /** Bytes that are in the file already; undefined for a new file. */
  readonly kept: readonly Extent[] | undefined;
  readonly reservation: Reservation;
  readonly hashes: HashThread;
  readonly health: DiskHealth;
  readonly blocks: SharedBlocks;
  readonly onCommitted: (size: number) => Promise<void>;
  readonly onKept: (part: Omit<KeptPart, 'keptAt'>) => Promise<void>;
  readonly onClosed: () => void;
}

/** A blob that is being filled: a file that is read and written through one descriptor. */
export class DiskPart implements BlobPart {
  readonly kept: readonly Extent[];
  readonly #options: DiskPartOptions;
  readonly #file: FileHandle;
  readonly #hash: FileHash;
  readonly #written: Extents;
  readonly #readShared: Read;
  #reserved: number;
  /** Journals are written one after the other. */
  #noted: Promise<void> = Promise.resolve();
  #isSettled = false;
  #isClosed = false;

  private constructor(file: FileHandle, options: DiskPartOptions) {
    this.#file = file;
    this.#options = options;
    this.kept = options.kept ?? [];
    this.#written = new Extents(this.kept);
    this.#readShared = options.blocks.share((...where) => this.#readFile(...where));
    this.#hash = options.hashes.open(options.path, digestAlgorithm(options.digest));
    this.#reserved = options.size ?? new Extents(this.kept).bytes;
  }

  /** Opens the kept file, or makes a new one; does not follow a link. Throws the system's error. */
  static async open(options: DiskPartOptions): Promise<DiskPart> {
    const { kept, path } = options;
    const file = kept === undefined ? await create(path) : await openRegularFile(path, KEPT_FLAGS);
    return new DiskPart(file, options);
  }

  async write(chunks: readonly Buffer[], position: number): Promise<void> {
    let rest = [...chunks];
    let at = position;
    await this.#reserveTo(position + rest.reduce((sum, { length }) => sum + length, 0));
    await this.#onDisk('writing a part', async () => {
      while (rest.length > 0) {
        const { bytesWritten } = await this.#file.writev(rest, at);
        at += bytesWritten;
        rest = after(rest, bytesWritten);
      }
    });
    this.#written.add({ start: position, end: at });
  }

  read(buffer: Buffer, length: number, position: number, isShared = false): Promise<number> {
    const blockStart = position - (position % BLOCK_BYTES);
    const isFinal = this.#written.coveredTo(blockStart) >= blockStart + BLOCK_BYTES;
    return isShared && isFinal
      ? this.#readShared(buffer, length, position)
      : this.#readFile(buffer, length, position);
  }

  async hashTo(end: number, signal?: AbortSignal): Promise<void> {
    // An abort is no failure of the disk.
    const advanced = await this.#onDisk('reading a part back', () => this.#hash.advance(end, signal));
    if (advanced === 'aborted') signal?.throwIfAborted();
  }

  async isRight(): Promise<boolean> {
    const hex = await this.#onDisk('hashing a part', () => this.#hash.digest());
    return hex === digestHex(this.#options.digest);
  }

  note(written: readonly Extent[]): Promise<void> {
    this.#noted = this.#noted
      .catch(() => undefined)
      .then(() => this.#onDisk('noting a part', () => this.#writeJournal(written, false)));
    return this.#noted;
  }

  async commit(size: number): Promise<void> {
    const { path, target, onCommitted } = this.#options;
    await this.#noted.catch(() => undefined);
    const folder = dirname(target);
    const keep = async (): Promise<void> => {
      await this.#file.datasync();
      await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
      await putInPlace(path, target);
      // Without a sync the blob can be lost with the machine, so it is not entered. A file without an entry would not
      // be counted, so it is removed.
      await syncDirectory(folder).catch(async (error: unknown) => {
        await rm(target, { force: true }).catch(() => undefined);
        throw error;
      });
    };
    await this.#onDisk(`keeping a blob in ${folder}`, keep, folder);
    await onCommitted(size);
    // The index counts the blob now, so its reservation ends before any await.
    this.#settle();
    await removeJournal(path).catch(() => undefined);
  }

  async keep(written: readonly Extent[]): Promise<void> {
    const { path, size, reservation, onKept } = this.#options;
    await this.#noted.catch(() => undefined);
    const held = new Extents(written).bytes;
    await this.#onDisk('keeping a part', async () => {
      await this.#file.datasync();
      await this.#writeJournal(written, true);
    });
    // A smaller reservation never fails.
    await reservation.resize(held);
    this.#isSettled = true;
    await onKept({ path, size, written, reservation });
  }

  async discard(): Promise<void> {
    const { path } = this.#options;
    await this.#noted.catch(() => undefined);
    await removePart(path);
    this.#settle();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#hash.close();
    this.#settle();
    this.#options.onClosed();
    // The caller could not react to an error.
    await this.#file.close().catch(() => undefined);
  }

  async #readFile(buffer: Buffer, length: number, position: number): Promise<number> {
    return (await this.#file.read(buffer, 0, length, position)).bytesRead;
  }

  async #reserveTo(end: number): Promise<void> {
    const { size, reservation } = this.#options;
    if (size !== undefined || end <= this.#reserved) return;
    await reservation.resize(end + GROWTH_BYTES);
    this.#reserved = end + GROWTH_BYTES;
  }

  async #writeJournal(written: readonly Extent[], isSynced: boolean): Promise<void> {
    const { path, digest, size } = this.#options;
    await writeJournal(path, { digest, size, written, isSynced });
  }

  async #onDisk<T>(doing: string, work: () => Promise<T>, folder?: string): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const error = diskError(cause, doing);
      this.#options.health.failed(error, folder);
      throw error;
    }
  }

  #settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#options.reservation.release();
  }
}

/** Makes the folder again, which may have been removed since the start. */
async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx+', FILE_MODE);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
    return open(path, 'wx+', FILE_MODE);
  }
}

/** A folder at `target` is not ours. It is removed, because the blob could never be cached otherwise. */
async function putInPlace(path: string, target: string): Promise<void> {
  try {
    await rename(path, target);
  } catch (error) {
    if (errorCode(error) !== 'EISDIR') throw error;
    await rm(target, { recursive: true, force: true });
    await rename(path, target);
  }
}

/** The chunks without their first `written` bytes. */
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

/** A rename is durable after a sync of its directory. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
