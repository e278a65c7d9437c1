import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, rm, writeFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../lib/errors.ts';
import { BlobStoreError } from '../blobs.ts';
import { FOLDER_MODE } from '../owner-only.ts';
import { partsDirectory } from './layout.ts';

const PROBE_EVERY_MS = 2000;
/** More than a file system keeps inside its inodes. */
const PROBE_BYTES = 64 * 1024;

/** Whether the disk takes what it is given. After a refusal it is tried by itself until it works again. */
export class DiskHealth {
  readonly #folder: string;
  readonly #onChange: (error: BlobStoreError | undefined) => void;
  #isFailing = false;
  #timer: NodeJS.Timeout | undefined;

  /** `onChange` is told of the first refusal, and with undefined that it works again. */
  constructor(dataDir: string, onChange: (error: BlobStoreError | undefined) => void) {
    this.#folder = partsDirectory(dataDir);
    this.#onChange = onChange;
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** A cache that is full by its own limit is no failure of the disk: such errors have no cause. */
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

/** Whether it says that there is no such file; what is something else than a file is none. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'not-a-file';
}

/** What the disk said, as a domain error; `doing` names what was tried. */
export function diskError(error: unknown, doing: string): BlobStoreError {
  if (error instanceof BlobStoreError) return error;
  const code = errorCode(error);
  const kind = code !== undefined && NO_ROOM.has(code) ? 'no-space' : 'disk-failed';
  return new BlobStoreError(kind, `${doing} failed: ${code ?? String(error)}`, error);
}

/** There is no room, although all has gone that may go. */
export class NoRoomError extends BlobStoreError {
  /** What would have to be given back for it to fit. */
  readonly missingBytes: number;

  constructor(message: string, missingBytes: number) {
    super('no-space', message);
    this.missingBytes = missingBytes;
  }
}

/** Room on the disk for what is being written; see the implementation for what counts. */
export interface Room {
  /** Holds `bytes` for a part; evicts what is wanted least if that is needed. Throws NoRoomError. */
  reserve(bytes: number): Promise<Reservation>;
}

export interface Reservation {
  /** Changes what is held, e.g. when a blob of unknown size grows. Throws NoRoomError; what was held stays held. */
  resize(bytes: number): Promise<void>;
  /** Gives it back: the part became a blob (which counts from then on) or is gone. Safe to call more than once. */
  release(): void;
}

/** Of a blob's file. Undefined: there is none, or something else is in its place. Throws BlobStoreError. */
export async function fileState(path: string): Promise<Pick<Stats, 'size' | 'mtimeMs'> | undefined> {
  try {
    const file = await stat(path);
    return file.isFile() ? file : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw diskError(error, 'looking for a blob');
  }
}
