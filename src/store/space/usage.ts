import type { Tell } from '../../events/events.ts';
import { WriteBehind } from '../../lib/write-behind.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { isIndexType } from '../../oci/media-types.ts';
import { COARSE_MS, type Unit } from '../index/blobs.ts';
import type { IndexTables } from '../index/tables.ts';

/** How long `servedAt` remembers at least: longer than the grace of what was served just now (protection.ts). */
const REMEMBERED_MS = 15_000;
/** Notes per transaction, which blocks the event loop for about 4 ms. */
const STEP = 200;

interface Note {
  readonly unit: Unit | 'index';
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
  touch({ digest, mediaType }: Descriptor): void {
    this.#note(digest, isIndexType(mediaType) ? 'index' : 'manifest');
  }

  /** A client got bytes of this blob. If a cached manifest names the blob, no age is written: the manifest has it. */
  touchBlob(digest: Digest): void {
    this.#note(digest, 'blob');
  }

  /** The last time it was served, if that is within 15 s; ms since the epoch. */
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

  #note(digest: Digest, unit: Note['unit']): void {
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
    const now = this.#options.now();
    const due: [Digest, Note][] = [];
    for (const [digest, note] of this.#notes) {
      const isOld = note.writtenAt === undefined || note.servedAt - note.writtenAt >= COARSE_MS;
      if (isOld) due.push([digest, note]);
      else if (now - note.servedAt >= REMEMBERED_MS) this.#notes.delete(digest);
    }
    return due;
  }

  async #writeStep(due: readonly [Digest, Note][]): Promise<void> {
    const { tables, onUnknown } = this.#options;
    const at = due.map(([, { servedAt }]) => servedAt);
    const unknown = new Set<Digest>();
    await tables.environment.writeEach(agesOf(tables, due), ({ unit, digest, usedAt }) => {
      if (unit === 'blob') tables.blobs.age(digest, usedAt);
      else if (!tables.manifests.touch(digest, usedAt)) unknown.add(digest);
    });
    for (const [place, [digest, note]] of due.entries()) {
      note.writtenAt = at[place];
      if (note.unit === 'blob' || !unknown.has(digest)) continue;
      // Nothing is written, so its next pull is noted at once: there may be no room for it now.
      this.#notes.delete(digest);
      await onUnknown(digest);
    }
  }
}

/** A pull of an index also counts for its entries, and the pull of an image for its attestations. */
function* agesOf(
  { references, manifests }: IndexTables,
  due: readonly [Digest, Note][],
): Generator<{ readonly unit: Unit; readonly digest: Digest; readonly usedAt: number }, void> {
  for (const [digest, { unit, servedAt: usedAt }] of due) {
    if (unit === 'blob') {
      if (!references.isNamed(digest)) yield { unit, digest, usedAt };
      continue;
    }
    yield { unit: 'manifest', digest, usedAt };
    const others = unit === 'index' ? manifests.entriesOf(digest) : manifests.attestationsOf(digest);
    for (const each of others) yield { unit: 'manifest', digest: each, usedAt };
  }
}
