import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStoreError } from '../blob-store.ts';
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
