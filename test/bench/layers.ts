import {
  bytesBlob,
  indexOf,
  jsonBytes,
  manifest,
  noise,
  sha256,
  type Blob,
  type Manifest,
} from './content.ts';

/** An image as people build it: a few large layers at the bottom, many small ones above. */
export interface LayeredImage {
  readonly repository: string;
  readonly tag: string;
  readonly blobs: readonly Blob[];
  readonly images: readonly Manifest[];
  readonly index: Manifest;
  /** Of all layers. */
  readonly layerBytes: number;
}

const MB = 1_000_000;
const LAYER_MB = [28, 8, 4, 2, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1];
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';
const RECORD_BYTES = 512;

/** Twenty layers of 49 MB together, or a multiple of that, that do not compress, for linux/amd64. */
export function layeredImage(name: string, times = 1): LayeredImage {
  const layers = LAYER_MB.map((mb, number) =>
    tarBlob(`file-${number}`, Math.round(times * mb * MB), 100 + number),
  );
  const config = bytesBlob(
    jsonBytes({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const image = manifest('application/vnd.oci.image.manifest.v1+json', {
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.size,
    },
    layers: layers.map(({ digest, size }) => ({ mediaType: LAYER_TYPE, digest, size })),
  });
  return {
    repository: `library/${name}`,
    tag: 'latest',
    blobs: [config, ...layers],
    images: [image],
    index: indexOf([{ image, architecture: 'amd64' }]),
    layerBytes: layers.reduce((sum, { size }) => sum + size, 0),
  };
}

/** A tar archive (ustar, POSIX.1-1988) with one file of so many bytes. */
function tarBlob(name: string, size: number, seed: number): Blob {
  const padding = Buffer.alloc((-size & (RECORD_BYTES - 1)) + 2 * RECORD_BYTES);
  function* chunks(): Generator<Buffer> {
    yield tarHeader(name, size);
    yield* noise(size, seed);
    yield padding;
  }
  return { digest: sha256(chunks()), size: RECORD_BYTES + size + padding.length, chunks };
}

function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(RECORD_BYTES);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(size, 11) + octal(1_700_000_000, 11), 100);
  header.write(' '.repeat(8), 148);
  header.write('0', 156);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
