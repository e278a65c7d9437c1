import type { Tell } from '../../events/events.ts';
import { WriteBehind } from '../../lib/write-behind.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Unit } from '../index/blobs.ts';
import type { IndexTables } from '../index/tables.ts';

/** A time is written at most once per minute: eviction orders by days and does not need seconds. */
const COARSE_MS = 60_000;
/** Notes per transaction; an index updates all its entries. */
const STEP = 32;

interface Note {
  readonly unit: Unit;
  servedAt: number;
  /** Undefined: not written yet. */
  writtenAt: number | undefined;
}

export interface UsageBufferOptions {
  readonly tables: IndexTables;
  readonly now: () => number;
  /** Called for a manifest that was served although the index lacks it. */
  readonly onUnknown: (digest: Digest) => Promise<void>;
  readonly tell: Tell<'indexFailed'>;
}

/** Times of the last pulls: noted in memory at each hit, written to the index in batches. */
export class UsageBuffer {
  readonly #options: UsageBufferOptions;
  readonly #notes = new Map<Digest, Note>();
  readonly #behind = new WriteBehind(() => this.#write());

  constructor(options: UsageBufferOptions) {
    this.#options = options;
  }

  /** A client got this manifest by GET. */
  touch(digest: Digest): void {
    this.#note(digest, 'manifest');
  }

  /** A client got bytes of this blob. If a cached manifest names the blob, no age is written: the manifest has it. */
  touchBlob(digest: Digest): void {
    this.#note(digest, 'blob');
  }

  /** The last time it was served, if that is within about a minute; ms since the epoch. */
  servedAt(digest: Digest): number | undefined {
    return this.#notes.get(digest)?.servedAt;
  }

  /** Resolves when all notes so far are in the index, or the index failed. */
  flush(): Promise<void> {
    return this.#behind.flush();
  }

  close(): Promise<void> {
    return this.#behind.close();
  }

  #note(digest: Digest, unit: Unit): void {
    const at = this.#options.now();
    const known = this.#notes.get(digest);
    if (known === undefined) this.#notes.set(digest, { unit, servedAt: at, writtenAt: undefined });
    else known.servedAt = at;
  }

  async #write(): Promise<void> {
    try {
      const due = this.#due();
      for (let at = 0; at < due.length; at += STEP) await this.#writeStep(due.slice(at, at + STEP));
    } catch (error) {
      this.#options.tell('indexFailed', { error });
    }
  }

  #due(): [Digest, Note][] {
    const { now, tables } = this.#options;
    const due: [Digest, Note][] = [];
    for (const [digest, note] of this.#notes) {
      const isOld = note.writtenAt === undefined || note.servedAt - note.writtenAt >= COARSE_MS;
      if (isOld && note.unit === 'blob' && tables.references.isNamed(digest)) note.writtenAt = note.servedAt;
      else if (isOld) due.push([digest, note]);
      else if (now() - note.servedAt >= COARSE_MS) this.#notes.delete(digest);
    }
    return due;
  }

  async #writeStep(due: readonly [Digest, Note][]): Promise<void> {
    const { tables, onUnknown } = this.#options;
    const at = due.map(([, { servedAt }]) => servedAt);
    const isKnown = due.map(([digest, { unit }]) => unit === 'blob' || tables.manifests.has(digest));
    await tables.environment.writeEach(agesOf(tables, due), ({ unit, digest, usedAt }) => {
      if (unit === 'manifest') tables.manifests.touch(digest, usedAt);
      else tables.blobs.age(digest, usedAt);
    });
    for (const [place, [digest, note]] of due.entries()) {
      note.writtenAt = at[place];
      if (isKnown[place] === false) await onUnknown(digest);
    }
  }
}

/** A pull of an index also counts for its entries, and the pull of an image for its attestations. */
function* agesOf(
  tables: IndexTables,
  due: readonly [Digest, Note][],
): Generator<{ readonly unit: Unit; readonly digest: Digest; readonly usedAt: number }, void> {
  for (const [digest, { unit, servedAt: usedAt }] of due) {
    yield { unit, digest, usedAt };
    if (unit === 'blob') continue;
    for (const each of tables.manifests.belongingTo(digest)) yield { unit, digest: each, usedAt };
  }
}
