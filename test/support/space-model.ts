import { expect } from 'vitest';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import type { Manifest } from '../../src/oci/manifest.ts';
import { BlobStoreError } from '../../src/store/blobs.ts';
import { ImageError } from '../../src/store/images.ts';
import { APP, linksOf, type TestSpace } from './space.ts';

/** More than the grace after a pull, and than the coarseness of what is noted. */
const STEP_MS = 120_000;
const HOUR_MS = 3_600_000;

export type SpaceAction =
  /** Fetches what is missing of an image, as clients that pull it make the server do. */
  | { readonly kind: 'pull'; readonly image: number }
  | { readonly kind: 'list'; readonly images: readonly number[] }
  | { readonly kind: 'pin' | 'unpin' | 'remove'; readonly image: number }
  | { readonly kind: 'fetch' | 'hold' | 'release'; readonly blob: number }
  | { readonly kind: 'want'; readonly bytes: number }
  | { readonly kind: 'wait'; readonly hours: number };

export interface SpaceWorld {
  readonly sizes: readonly number[];
  /** The blobs of each image. */
  readonly images: readonly (readonly number[])[];
}

interface Known {
  readonly manifest: Manifest;
  readonly blobs: readonly Digest[];
  pulledAt: number;
  isPinned: boolean;
}

interface Moment {
  readonly images: readonly Known[];
  readonly spared: ReadonlySet<Known>;
  readonly lists: ReadonlySet<Digest>;
  readonly blobs: ReadonlySet<Digest>;
}

/** Does things to a real space, one after the other, and knows what must be true after each of them. */
export class SpaceModel {
  readonly #test: TestSpace;
  readonly #world: SpaceWorld;
  readonly #images = new Map<number, Known>();
  readonly #lists = new Map<Digest, readonly number[]>();
  readonly #leases = new Map<Digest, () => void>();

  constructor(test: TestSpace, world: SpaceWorld) {
    this.#test = test;
    this.#world = world;
  }

  async act(action: SpaceAction): Promise<void> {
    if (action.kind === 'list') for (const image of action.images) await this.act({ kind: 'pull', image });
    this.#test.now += STEP_MS;
    const before = this.#moment();
    await this.#do(action).catch(requireRefusal);
    await this.#test.space.idle();
    await this.#requireInStep();
    if (action.kind === 'remove') return;
    const after = this.#moment();
    // What another image has come to name is no longer its own, and then does not speak for it.
    const spared = [...before.spared].filter((known) => known.isPinned || this.#isInUse(known));
    for (const known of spared) expect(after.images).toContain(known);
    this.#requireOrder(before, after);
    this.#requireWhole(before, after);
    for (const list of before.lists) if (!after.lists.has(list)) this.#requireNoChild(list, after);
  }

  async #do(action: SpaceAction): Promise<void> {
    const { images, space } = this.#test;
    const { leases } = space;
    switch (action.kind) {
      case 'pull':
        return this.#pull(action.image);
      case 'list':
        return this.#pullList(action.images);
      case 'pin':
        await images.pin(APP, tagOf(action.image));
        return this.#setPinned(action.image, true);
      case 'unpin':
        await images.unpin(APP, tagOf(action.image));
        return this.#setPinned(action.image, false);
      case 'remove':
        await images.remove(APP, tagOf(action.image));
        return;
      case 'fetch':
        return this.#fetch(action.blob);
      case 'hold': {
        const digest = blobDigest(action.blob);
        const isFree = this.#isThere(digest) && !this.#leases.has(digest);
        if (isFree) this.#leases.set(digest, leases.hold(digest));
        return;
      }
      case 'release':
        this.#leases.get(blobDigest(action.blob))?.();
        this.#leases.delete(blobDigest(action.blob));
        return;
      case 'want':
        return this.#test.want(action.bytes);
      case 'wait':
        this.#test.now += action.hours * HOUR_MS;
    }
  }

  async #pull(at: number): Promise<void> {
    const numbers = this.#world.images[at] ?? [];
    const blobs = numbers.map((each) => ({ digest: blobDigest(each), size: this.#sizeOf(each) }));
    const manifest = await this.#test.addImage({ name: `${at}`, tag: tagOf(at).tag, blobs });
    const isPinned = this.#images.get(at)?.isPinned === true;
    const known = { manifest, blobs: blobs.map(({ digest }) => digest), pulledAt: this.#test.now, isPinned };
    // The same object for the same image: moments are compared.
    this.#images.set(at, Object.assign(this.#images.get(at) ?? known, known));
    await this.#test.pull(manifest);
    for (const each of numbers) await this.#fetch(each).catch(requireRefusal);
  }

  async #pullList(children: readonly number[]): Promise<void> {
    const list = await this.#test.addIndex({
      of: children.flatMap((child) => this.#images.get(child)?.manifest ?? []),
    });
    this.#lists.set(list.descriptor.digest, children);
    await this.#test.pull(list);
    for (const child of children) {
      const known = this.#images.get(child);
      if (known !== undefined && this.#test.isStored(known.manifest)) known.pulledAt = this.#test.now;
    }
  }

  /** As a fill does: room first, then the file. */
  async #fetch(blob: number): Promise<void> {
    if (this.#isThere(blobDigest(blob))) return;
    const size = this.#sizeOf(blob);
    const room = await this.#test.space.room.reserve(size);
    await this.#test.addBlob(`blob-${blob}`, size);
    room.release();
  }

  #setPinned(image: number, isPinned: boolean): void {
    const known = this.#images.get(image);
    if (known !== undefined) known.isPinned = isPinned;
  }

  #moment(): Moment {
    const { tables } = this.#test.index;
    const images = [...this.#images.values()].filter(({ manifest }) => this.#test.isStored(manifest));
    return {
      images,
      spared: new Set(images.filter((known) => known.isPinned || this.#isInUse(known))),
      lists: new Set([...this.#lists.keys()].filter((digest) => tables.manifests.has(digest))),
      blobs: new Set(tables.blobs.page(1000)),
    };
  }

  /** A blob of it is held that is its own, or its pull is not an hour old. */
  #isInUse({ manifest, blobs, pulledAt }: Known): boolean {
    const { references } = this.#test.index.tables;
    const isRecent = pulledAt > this.#test.now - HOUR_MS;
    return blobs.some(
      (digest) =>
        this.#leases.has(digest) && (isRecent || references.isOwn(digest, manifest.descriptor.digest)),
    );
  }

  /** Of two that might have gone, the one that was pulled before the other was not left. */
  #requireOrder(before: Moment, after: Moment): void {
    const left = after.images.filter((known) => !before.spared.has(known) && !after.spared.has(known));
    for (const gone of before.images.filter((known) => !after.images.includes(known))) {
      for (const known of left) expect(known.pulledAt).toBeGreaterThanOrEqual(gone.pulledAt);
    }
  }

  /** An image that is still there has every blob that it had. */
  #requireWhole(before: Moment, after: Moment): void {
    for (const known of after.images.filter((each) => before.images.includes(each))) {
      const had = known.blobs.filter((digest) => before.blobs.has(digest));
      expect([...after.blobs]).toEqual(expect.arrayContaining(had));
    }
  }

  #requireNoChild(list: Digest, after: Moment): void {
    const children = this.#lists.get(list)?.map((child) => this.#images.get(child));
    expect(after.images.filter((known) => children?.includes(known))).toEqual([]);
  }

  /** Limit, files, totals, ages and links agree with what is stored. */
  async #requireInStep(): Promise<void> {
    const { index, space } = this.#test;
    const { blobs, manifests, references, usage } = index.tables;
    const { usedBytes, limitBytes } = space.figures();
    expect(usedBytes).toBeLessThanOrEqual(limitBytes);
    const stored = blobs.page(1000);
    expect(await this.#test.files()).toEqual(stored);
    const bytes = stored.reduce((sum, digest) => sum + (blobs.size(digest) ?? 0), 0);
    expect(index.blobTotals()).toEqual({ blobs: stored.length, bytes });
    const loose = stored.filter((digest) => !references.isNamed(digest));
    const ages = usage.coldest(1000);
    const digests = (unit: string) => ages.filter((place) => place[1] === unit).map((place) => place[2]);
    expect(digests('blob').sort()).toEqual(loose);
    expect(digests('manifest').sort()).toEqual(manifests.page(1000));
    const isNowhere = (digest: Digest): boolean =>
      !manifests.has(digest) && !stored.includes(digest) && !references.isNamed(digest);
    expect(linksOf(this.#test).filter(isNowhere)).toEqual([]);
  }

  #isThere(digest: Digest): boolean {
    return this.#test.index.getBlob(digest) !== undefined;
  }

  #sizeOf(blob: number): number {
    return this.#world.sizes[blob] ?? 1;
  }
}

/** Refusals are answers; anything else is a fault. */
function requireRefusal(error: unknown): void {
  if (error instanceof ImageError || (error instanceof BlobStoreError && error.code === 'no-space')) return;
  throw error;
}

function tagOf(image: number): { readonly kind: 'tag'; readonly tag: string } {
  return { kind: 'tag', tag: `image-${image}` };
}

function blobDigest(blob: number): Digest {
  return digestOf(Buffer.from(`blob-${blob}`));
}
