import { randomBytes } from 'node:crypto';
import { access, constants, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStoreError } from '../blobs.ts';
import { FOLDER_MODE } from '../owner-only.ts';
import { partsDirectory } from './layout.ts';

const PROBE_EVERY_MS = 2000;
/** More bytes than a file system keeps in an inode. */
const PROBE_BYTES = 64 * 1024;

/**
 * Whether the disk can be written. After a failure it writes a probe file every 2 s, until that succeeds and the folders
 * that failed can be written.
 */
export class DiskHealth {
  readonly #folder: string;
  readonly #failed = new Set<string>();
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

  /** Errors without a cause are ignored: they come from `cacheSize`, not from the disk. `folder`: where it failed. */
  failed(error: BlobStoreError, folder?: string): void {
    if (error.cause === undefined) return;
    if (folder !== undefined) this.#failed.add(folder);
    if (this.#isFailing) return;
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
      for (const folder of this.#failed) {
        await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
        // Not by a file: between blobs it would be taken for one.
        await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
      }
      await mkdir(this.#folder, { recursive: true, mode: FOLDER_MODE });
      await writeFile(path, Buffer.alloc(PROBE_BYTES), { flush: true });
      await rm(path);
    } catch {
      await rm(path, { force: true }).catch(() => undefined);
      return;
    }
    if (!this.#isFailing) return;
    this.#isFailing = false;
    this.#failed.clear();
    clearInterval(this.#timer);
    this.#onChange(undefined);
  }
}
