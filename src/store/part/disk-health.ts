import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStoreError } from '../blobs.ts';
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
