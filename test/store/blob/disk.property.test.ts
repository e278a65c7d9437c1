import { truncate } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { BlobStoreError, type BlobStore } from '../../../src/store/blobs.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import { openTestSpace, type TestSpace } from '../../support/space.ts';
import { storedBytes } from '../../support/stored-files.ts';

const LIMIT = 100_000;
const CONTENTS = [9_000, 20_000, 31_000, 45_000].map((size) => Buffer.alloc(size, `${size} bytes`));
const DIGESTS = CONTENTS.map((content) => digestOf(content));

/** What may be done to a blob at the same time as all the rest. */
type Action =
  | { readonly kind: 'read' | 'check' | 'damage'; readonly blob: number }
  | { readonly kind: 'fill'; readonly blob: number; readonly end: 'commit' | 'keep' | 'discard' }
  | { readonly kind: 'want'; readonly bytes: number };

const blob = fc.nat({ max: CONTENTS.length - 1 });
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('read', 'check'), blob }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('damage'), blob }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('fill'),
      blob,
      end: fc.constantFrom('commit', 'commit', 'keep', 'discard'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('want'), bytes: fc.nat({ max: LIMIT }) }) },
);

/** Does to one store what clients, fills, evictions and verifications do at once. */
class Crowd {
  readonly #test: TestSpace;
  readonly #blobs: BlobStore;
  /** At most one fill of a blob runs at a time, as in the server. */
  readonly #filling = new Set<number>();

  constructor(test: TestSpace, blobs: BlobStore) {
    this.#test = test;
    this.#blobs = blobs;
  }

  async act(what: Action): Promise<void> {
    try {
      await this.#do(what);
    } catch (error) {
      // Refusals for want of room are answers; anything else is a fault.
      if (!(error instanceof BlobStoreError && error.code === 'no-space')) throw error;
    }
  }

  async #do(what: Action): Promise<void> {
    if (what.kind === 'want') return this.#test.want(what.bytes);
    const digest = at(DIGESTS, what.blob);
    switch (what.kind) {
      case 'read':
        return this.#read(digest, at(CONTENTS, what.blob));
      case 'check': {
        const state = await this.#test.takeIn(digest, AbortSignal.timeout(10_000));
        expect(state).not.toBe('unreadable');
        return;
      }
      case 'damage':
        await truncate(blobPath(this.#test.dataDir, digest), 1).catch(() => undefined);
        return;
      case 'fill':
        if (this.#filling.has(what.blob)) return;
        this.#filling.add(what.blob);
        return this.#fill(digest, at(CONTENTS, what.blob), what.end).finally(() =>
          this.#filling.delete(what.blob),
        );
    }
  }

  async #read(digest: Digest, content: Buffer): Promise<void> {
    const opened = await this.#blobs.open(digest);
    if (opened === undefined) return;
    const buffer = Buffer.alloc(opened.size);
    for (let position = 0; position < opened.size;) {
      const piece = buffer.subarray(position, position + 4096);
      const read = await opened.read(piece, piece.length, position);
      expect(piece.subarray(0, read).equals(content.subarray(position, position + read))).toBe(true);
      // Cut short while it was read.
      if (read === 0) break;
      position += read;
    }
    await opened.close();
  }

  async #fill(digest: Digest, content: Buffer, end: 'commit' | 'keep' | 'discard'): Promise<void> {
    if ((await this.#blobs.stat(digest)) !== undefined) return;
    const part = await this.#blobs.createPart(digest, content.length);
    try {
      const half = content.length / 2;
      await part.write([content.subarray(0, half)], 0);
      if (end === 'discard') return await part.discard();
      if (end === 'keep') return await part.keep([{ start: 0, end: half }]);
      await part.write([content.subarray(half)], half);
      await part.hashTo(content.length);
      expect(await part.isRight()).toBe(true);
      await part.commit(content.length);
    } finally {
      await part.close();
    }
  }
}

describe('blobs that are read, filled, evicted, damaged and looked at all at once', () => {
  it('are right or absent, count for what they take, and leave nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(action, { minLength: 3, maxLength: 12 }), { minLength: 2, maxLength: 6 }),
        async (workers) => {
          const test = await openTestSpace({ blobLimit: LIMIT });
          const { space } = test;
          const blobs = await test.openBlobs();
          const crowd = new Crowd(test, blobs);
          const run = async (actions: readonly Action[]): Promise<void> => {
            for (const each of actions) await crowd.act(each);
          };
          await Promise.all(workers.map(run));
          await space.idle();
          await requireInStep(test, blobs);
          await blobs.close();
          await test.close();
        },
      ),
      { numRuns: 40 },
    );
  }, 60_000);
});

async function requireInStep(test: TestSpace, blobs: BlobStore): Promise<void> {
  const { dataDir, index, space } = test;
  for (const digest of DIGESTS) expect(space.leases.isHeld(digest)).toBe(false);
  const { usedBytes, reservedBytes } = space.figures();
  expect(usedBytes).toBeLessThanOrEqual(LIMIT);
  const kept = DIGESTS.flatMap((digest) => blobs.keptPart(digest)?.written ?? []);
  expect(reservedBytes).toBe(kept.reduce((sum, { start, end }) => sum + end - start, 0));
  // Those that were damaged are found now.
  for (const digest of DIGESTS) await blobs.stat(digest);
  const stored = DIGESTS.filter((digest) => index.getBlob(digest) !== undefined);
  expect(await test.files()).toEqual([...stored].sort());
  for (const [place, content] of CONTENTS.entries()) {
    const bytes = await storedBytes(dataDir, at(DIGESTS, place));
    if (bytes !== undefined) expect(bytes.equals(content)).toBe(true);
  }
}

function at<T>(list: readonly T[], place: number): T {
  const value = list[place];
  if (value === undefined) throw new RangeError(`there is no ${place}`);
  return value;
}
