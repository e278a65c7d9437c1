import { createCipheriv, createHash } from 'node:crypto';

const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const PLATFORMS = ['amd64', 'arm64', '386', 'arm', 'ppc64le', 'riscv64', 's390x', 'mips64le'];
const CHUNK_BYTES = 1024 * 1024;

export interface Blob {
  readonly digest: string;
  readonly size: number;
  /** The bytes in order; each chunk is valid until the next one is asked for. */
  chunks(): Iterable<Buffer>;
}

export interface Manifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** What upstream holds: one image for eight platforms, with a small and a large layer that all of them share. */
export interface Content {
  readonly repository: string;
  readonly tag: string;
  readonly smallBlob: Blob;
  readonly largeBlob: Blob;
  readonly configs: readonly Blob[];
  readonly images: readonly Manifest[];
  readonly index: Manifest;
}

export function benchContent(): Content {
  const smallBlob = noiseBlob(200_000, 1);
  const largeBlob = noiseBlob(512_000_000, 2);
  const configs = PLATFORMS.map((architecture) =>
    bytesBlob(jsonBytes({ architecture, os: 'linux', config: {} })),
  );
  const layers = [smallBlob, largeBlob].map((blob) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: blob.digest,
    size: blob.size,
  }));
  const images = configs.map((config) =>
    manifest(MANIFEST_TYPE, {
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: config.digest,
        size: config.size,
      },
      layers,
    }),
  );
  const index = indexOf(images.map((image, number) => ({ image, architecture: PLATFORMS[number] ?? '' })));
  return { repository: 'library/bench', tag: 'latest', smallBlob, largeBlob, configs, images, index };
}

/** An index of Linux images. */
export function indexOf(
  entries: readonly { readonly image: Manifest; readonly architecture: string }[],
): Manifest {
  return manifest(INDEX_TYPE, {
    manifests: entries.map(({ image, architecture }) => ({
      mediaType: image.mediaType,
      digest: image.digest,
      size: image.bytes.length,
      platform: { architecture, os: 'linux' },
    })),
  });
}

export function manifest(mediaType: string, body: Readonly<Record<string, unknown>>): Manifest {
  const bytes = jsonBytes({ schemaVersion: 2, mediaType, ...body });
  return { digest: sha256([bytes]), mediaType, bytes };
}

export function bytesBlob(bytes: Buffer): Blob {
  return { digest: sha256([bytes]), size: bytes.length, chunks: () => [bytes] };
}

/** `size` bytes that do not compress, the same each time: the key stream of AES-CTR. */
function noiseBlob(size: number, seed: number): Blob {
  const chunks = (): Iterable<Buffer> => noise(size, seed);
  return { digest: sha256(chunks()), size, chunks };
}

export function* noise(size: number, seed: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK_BYTES);
  for (let left = size; left > 0; left -= CHUNK_BYTES) {
    yield cipher.update(left < CHUNK_BYTES ? zeros.subarray(0, left) : zeros);
  }
}

export function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value, undefined, 2));
}

export function sha256(chunks: Iterable<Buffer>): string {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
