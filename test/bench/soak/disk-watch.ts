import { existsSync, readdirSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import type { Tally } from './tally.ts';

const SAMPLE_EVERY_MS = 250;
const COUNTS = 4;
const BLOCK_BYTES = 512;

export interface DiskWatchOptions {
  readonly dataDir: string;
  readonly maxBytes: number;
  readonly tally: Tally;
}

/** Looks all the time whether blobs, parts and the index together are within the limit. */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #samples = 0;
  #samplesOver = 0;
  #peak: Usage = { bytes: 0, blobs: 0, parts: 0, index: 0 };

  constructor(options: DiskWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_EVERY_MS);
  }

  end(): void {
    clearInterval(this.#timer);
    const { maxBytes, tally } = this.#options;
    const { bytes, blobs, parts, index } = this.#peak;
    tally.count('disk', 'most bytes', bytes);
    if (this.#samplesOver === 0) return;
    const most = `${bytes} bytes of ${maxBytes}: blobs ${blobs}, parts ${parts}, index ${index}`;
    tally.violation(
      'the disk was over its limit',
      `${this.#samplesOver} of ${this.#samples} times; most ${most}`,
    );
  }

  /** A walk is no snapshot: it may find a file that goes away, and then what takes its place. So the least of some. */
  #sample(): void {
    const { dataDir, maxBytes } = this.#options;
    let usage = usageOf(dataDir);
    for (let count = 1; count < COUNTS && usage.bytes > maxBytes; count++) {
      const again = usageOf(dataDir);
      if (again.bytes < usage.bytes) usage = again;
    }
    this.#samples++;
    if (usage.bytes > maxBytes) this.#samplesOver++;
    if (usage.bytes > this.#peak.bytes) this.#peak = usage;
  }
}

interface Usage {
  readonly bytes: number;
  readonly blobs: number;
  readonly parts: number;
  readonly index: number;
}

function usageOf(dataDir: string): Usage {
  const seen = new Set<number>();
  const sum = (folder: string): number => allocatedBytes(join(dataDir, folder), seen);
  const parts = sum('parts');
  const blobs = sum('blobs');
  const index = sum('index');
  return { bytes: parts + blobs + index, blobs, parts, index };
}

/** A part is sparse, and the last block of a file is not full: each counts what it has of its size. */
function allocatedBytes(folder: string, seen: Set<number>): number {
  if (!existsSync(folder)) return 0;
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += allocatedBytes(path, seen);
    // Notes on parts are a few bytes each.
    if (!entry.isFile() || entry.name.includes('.journal')) continue;
    const file = statOf(path);
    // A part becomes a blob by a new name.
    if (file === undefined || seen.has(file.ino)) continue;
    seen.add(file.ino);
    bytes += Math.min(file.size, file.blocks * BLOCK_BYTES);
  }
  return bytes;
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}
