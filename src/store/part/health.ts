import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, rm, writeFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../lib/errors.ts';
import { BlobStoreError } from '../blobs.ts';
import { FOLDER_MODE } from '../owner-only.ts';
import { partsDirectory } from './layout.ts';

const PROBE_EVERY_MS = 2000;
/** More bytes than a file system keeps in an inode. */
const PROBE_BYTES = 64 * 1024;

/** Whether the disk can be written. After a failure it writes a probe file every 2 s until that succeeds. */
export class DiskHealth {
  readonly #folder: string;
  readonly #onChange: (error: BlobStoreError | undefined) => void;
  #isFailing = false;
  #timer: NodeJS.Timeout | undefined;

  /** `onChange` is called with the first error, and with undefined when the disk works again. */
  constructor(dataDir: string, onChange: (error: BlobStoreError | undefined) => void) {
    this.#folder = partsDirectory(dataDir);
    this.#onChange = onChange;
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** Errors without a cause are ignored: they come from `cacheSize`, not from the disk. */
  failed(error: BlobStoreError): void {
    if (this.#isFailing || error.cause === undefined) return;
    this.#isFailing = true;
    this.#onChange(error);
    this.#timer = setInterval(() => void this.#probe(), PROBE_EVERY_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #probe(): Promise<void> {
    const path = join(this.#folder, `probe.${randomBytes(8).toString('hex')}`);
    try {
      await mkdir(this.#folder, { recursive: true, mode: FOLDER_MODE });
      await writeFile(path, Buffer.alloc(PROBE_BYTES), { flush: true });
      await rm(path);
    } catch {
      await rm(path, { force: true }).catch(() => undefined);
      return;
    }
    if (!this.#isFailing) return;
    this.#isFailing = false;
    clearInterval(this.#timer);
    this.#onChange(undefined);
  }
}

const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Whether the error says that there is no such file. Anything but a file counts as none. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'not-a-file';
}

/** The system's error as BlobStoreError; `doing` names the failed action. */
export function diskError(error: unknown, doing: string): BlobStoreError {
  if (error instanceof BlobStoreError) return error;
  const code = errorCode(error);
  const kind = code !== undefined && NO_ROOM.has(code) ? 'no-space' : 'disk-failed';
  return new BlobStoreError(kind, `${doing} failed: ${code ?? String(error)}`, error);
}

/** There is no room, although all images that may be evicted are evicted. */
export class NoRoomError extends BlobStoreError {
  /** Bytes that must become free for the request to succeed. */
  readonly missingBytes: number;

  constructor(message: string, missingBytes: number) {
    super('no-space', message);
    this.missingBytes = missingBytes;
  }
}

/** Room on the disk for parts; DiskRoom defines which bytes count. */
export interface Room {
  /** Reserves `bytes` for a part; evicts the coldest images if needed. Throws NoRoomError. */
  reserve(bytes: number): Promise<Reservation>;
}

export interface Reservation {
  /** Changes the size, e.g. when a blob of unknown size grows. Throws NoRoomError; the old size stays reserved. */
  resize(bytes: number): Promise<void>;
  /** For a part that became a blob (which counts from then on) or was removed. Safe to call more than once. */
  release(): void;
}

/** Size and time of a blob's file. Undefined: there is none, or no regular file. Throws BlobStoreError. */
export async function fileState(path: string): Promise<Pick<Stats, 'size' | 'mtimeMs'> | undefined> {
  try {
    const file = await stat(path);
    return file.isFile() ? file : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw diskError(error, 'looking for a blob');
  }
}
