import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { manifestOf } from '../../src/oci/manifest.ts';
import { BundleError } from '../../src/bundle/error.ts';
import { BundleReader } from '../../src/bundle/reader.ts';
import { parsePublicKey } from '../../src/bundle/signature.ts';
import { Bundle, type BundleDraft } from '../../src/bundle/writer.ts';
import { digestMatches, digestOf, type Digest } from '../../src/oci/digest.ts';
import { parseImageName } from '../../src/oci/image-name.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { signingKeys } from '../support/bundles.ts';
import { FUZZ_TIMEOUT_MS } from '../support/fuzz.ts';

const { key, publicKey } = signingKeys();

interface Made {
  readonly draft: BundleDraft;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

/** Any images, manifests and blobs; whether they make sense is not the stream's to know. */
const made = fc
  .record({
    blobs: fc.uniqueArray(fc.uint8Array({ maxLength: 2000 }), { selector: String, maxLength: 5 }),
    manifests: fc.uniqueArray(fc.string({ maxLength: 50 }), { minLength: 1, maxLength: 4 }),
    base: fc.uniqueArray(fc.string(), { maxLength: 3 }),
  })
  .map(({ blobs, manifests, base }): Made => {
    const contents = new Map(
      blobs.map((bytes, at) => [digestOf(bytes, at % 2 === 0 ? 'sha256' : 'sha512'), Buffer.from(bytes)]),
    );
    const all = manifests.map((text) => {
      const bytes = Buffer.from(`manifest ${text}`);
      return manifestOf({ digest: digestOf(bytes), mediaType: OCI_INDEX, bytes });
    });
    const images = all.flatMap(({ descriptor }, at) => {
      const name = parseImageName(`image-${at}:v1`);
      return name === undefined ? [] : [{ name, root: descriptor }];
    });
    const draft: BundleDraft = {
      images,
      manifests: all,
      referrers: [],
      blobs: [...contents].map(([digest, bytes]) => ({ digest, size: bytes.length })),
      base: base.map((text) => ({ digest: digestOf(Buffer.from(text)), size: text.length })),
      docker: [],
    };
    return { draft, blobs: contents };
  });

async function bytesOf({ draft, blobs }: Made, isSigned = false): Promise<Buffer> {
  const stored = async function* (digest: Digest): AsyncGenerator<Buffer, void> {
    yield blobs.get(digest) ?? Buffer.alloc(0);
  };
  const bundle = new Bundle(draft, isSigned ? { read: stored, key } : { read: stored });
  const chunks: Buffer[] = [];
  for await (const chunk of bundle.bytes()) chunks.push(chunk);
  expect(Buffer.concat(chunks).length).toBe(bundle.size);
  return Buffer.concat(chunks);
}

async function* pieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer, void> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** All that is in it. */
async function read(stream: AsyncIterable<Buffer>, keys: ConstructorParameters<typeof BundleReader>[1] = []) {
  const reader = new BundleReader(stream, keys);
  const { images, contents } = await reader.head();
  const { manifests } = await reader.manifests();
  const blobs: [Digest, Buffer][] = [];
  for await (const { digest, chunks } of reader.blobs()) {
    const found: Buffer[] = [];
    for await (const chunk of chunks()) found.push(chunk);
    const bytes = Buffer.concat(found);
    if (!digestMatches(digest, bytes)) throw new BundleError('corrupt', `${digest} is not right`);
    blobs.push([digest, bytes]);
  }
  return { images, base: contents.base, manifests: [...manifests.values()], blobs };
}

const sizes = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 });

describe('the stream of a bundle', () => {
  it('is read as it was written, in whatever pieces it comes', () =>
    fc.assert(
      fc.asyncProperty(made, sizes, fc.boolean(), async (given, cut, isSigned) => {
        const found = await read(pieces(await bytesOf(given, isSigned), cut));
        expect(found).toEqual({
          images: given.draft.images,
          base: given.draft.base,
          manifests: given.draft.manifests,
          blobs: [...given.blobs],
        });
      }),
      { numRuns: 50 },
    ));

  it('is the same, or is refused, when any of its bytes is another', () =>
    fc.assert(
      fc.asyncProperty(made, fc.nat(), fc.integer({ min: 1, max: 255 }), async (given, where, flip) => {
        const bytes = await bytesOf(given);
        const before = await read(pieces(bytes, [4096]));
        const at = where % bytes.length;
        bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
        // Without a signature, names can be changed: nothing says what they were.
        const named = (found: Awaited<ReturnType<typeof read>>) => ({ ...found, images: [] });
        try {
          expect(named(await read(pieces(bytes, [4096])))).toEqual(named(before));
        } catch (error) {
          if (!(error instanceof BundleError)) throw error;
        }
      }),
      { numRuns: 300 },
    ));

  it(
    'is the same with all of its names, or is refused, whichever byte is another, where it must be signed',
    { timeout: FUZZ_TIMEOUT_MS },
    async () => {
      const [given] = fc.sample(made, { seed: 6, numRuns: 1 });
      if (given === undefined) throw new Error('nothing was made');
      const keys = [parsePublicKey(publicKey)];
      const bytes = await bytesOf(given, true);
      const before = await read(pieces(bytes, [bytes.length]), keys);
      const harmless = new Set<number>();
      for (let at = 0; at < bytes.length; at++) {
        const other = Buffer.from(bytes);
        other.writeUInt8(other.readUInt8(at) ^ (1 << (at % 8)), at);
        try {
          expect(await read(pieces(other, [other.length]), keys)).toEqual(before);
          harmless.add(at);
        } catch (error) {
          if (!(error instanceof BundleError)) throw error;
        }
      }
      // Zeros that fill up, and blanks in the signature's line.
      const fillers = bytes.filter((byte) => byte === 0 || byte === 0x0a).length;
      expect(harmless.size).toBeLessThanOrEqual(fillers);
    },
  );

  it('is refused wherever it is cut', () =>
    fc.assert(
      fc.asyncProperty(made, fc.nat(), async (given, where) => {
        const bytes = await bytesOf(given);
        await expect(read(pieces(bytes.subarray(0, where % bytes.length), [700]))).rejects.toBeInstanceOf(
          BundleError,
        );
      }),
      { numRuns: 100 },
    ));
});
