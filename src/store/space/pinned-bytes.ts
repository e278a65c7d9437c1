import { setImmediate as turn } from 'node:timers/promises';
import type { Digest } from '../../oci/digest.ts';
import { attestationsOf } from '../index/attestations.ts';
import { addClosure, emptyClosure, type Closure } from '../index/closure.ts';
import type { Pin } from '../index/pins.ts';
import type { IndexTables } from '../index/tables.ts';

/** Pins that are looked at before others have a turn. */
const STEP = 20;
const MEASURE_EVERY_MS = 60_000;

/** How much pins keep, measured from time to time: tags move, and images are pulled for further platforms. */
export class PinnedBytes {
  readonly #tables: IndexTables;
  #timer: NodeJS.Timeout | undefined;
  #storedBytes = 0;

  constructor(tables: IndexTables) {
    this.#tables = tables;
  }

  /** Stored bytes that pins keep from eviction, when last measured. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  async start(): Promise<void> {
    // The index may be closed while it is measured.
    const measure = (): Promise<void> => this.measure().catch(() => undefined);
    this.#timer = setInterval(() => void measure(), MEASURE_EVERY_MS);
    this.#timer.unref();
    await this.measure();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Everything that is pinned; with `also`, as it would be if that were pinned as well. */
  async closure(also?: Pin): Promise<Closure> {
    const closure = emptyClosure();
    const pins = [...this.#tables.pins.all(), ...(also === undefined ? [] : [also])];
    for (const [at, pin] of pins.entries()) {
      const digest = pinnedDigest(this.#tables, pin);
      if (digest !== undefined) {
        addClosure(this.#tables, digest, closure);
        for (const each of attestationsOf(this.#tables, digest)) addClosure(this.#tables, each, closure);
      }
      if (at % STEP === STEP - 1) await turn();
    }
    return closure;
  }

  async measure(): Promise<void> {
    let bytes = 0;
    for (const digest of (await this.closure()).blobs.keys()) bytes += this.#tables.blobs.size(digest) ?? 0;
    this.#storedBytes = bytes;
  }
}

/** What a pin keeps now; undefined if its tag is not known here. */
export function pinnedDigest(tables: IndexTables, pin: Pin): Digest | undefined {
  return pin.kind === 'digest' ? pin.digest : tables.tags.get([pin.repository, pin.tag])?.descriptor.digest;
}
