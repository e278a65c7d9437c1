import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { manifestOf } from '../../src/oci/manifest.ts';
import type * as Built from '../../src/store/index/tables.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const IMAGES_PER_REPOSITORY = 50;
const IMAGES_PER_STEP = 1000;
/** Of the data directory and of the index, as this version writes them. */
const LAYOUT = 2;

export interface IndexedImage {
  /** As clients call it. */
  readonly repository: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly blobs: readonly { readonly digest: Digest; readonly size: number }[];
  /** When it was last pulled, ms since the epoch. */
  readonly usedAt: number;
}

export interface ImageShape {
  readonly blobs: number;
  readonly blobBytes: number;
  readonly usedAt: number;
}

/** The same for the same number and shape. */
export function indexedImage(number: number, { blobs: count, blobBytes, usedAt }: ImageShape): IndexedImage {
  const blobs = Array.from({ length: count }, (_, layer) => ({
    digest: digestOf(Buffer.from(`${number}/${layer}`)),
    size: blobBytes,
  }));
  const [config, ...layers] = blobs.map((blob, layer) => ({
    mediaType: `application/vnd.oci.image.${layer === 0 ? 'config.v1+json' : 'layer.v1.tar+gzip'}`,
    ...blob,
  }));
  const document = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers };
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = digestOf(bytes);
  const repository = `bench/repository-${Math.floor(number / IMAGES_PER_REPOSITORY)}`;
  return { repository, digest, bytes, blobs, usedAt };
}

export interface FillingOptions {
  /** The checkout, which holds `dist/`. */
  readonly root: string;
  readonly dataDir: string;
  readonly images: Iterable<IndexedImage>;
  /** Their blobs are stored as well; somebody else makes the files. */
  readonly withBlobs: boolean;
}

/** Enters images into the index of a data directory that no server has, faster than any server could. */
export async function fillIndex({ root, dataDir, images, withBlobs }: FillingOptions): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  await writeFile(join(dataDir, 'version'), `${LAYOUT}\n`);
  const { IndexTables } = (await import(
    pathToFileURL(join(root, 'dist/store/index/tables.js')).href
  )) as typeof Built;
  const tables = new IndexTables(join(dataDir, 'index'), { readOnly: false });
  const commit = (step: readonly IndexedImage[]): Promise<void> =>
    tables.environment.write(() => step.forEach((image) => enter(tables, image, withBlobs)), { frees: true });
  let step: IndexedImage[] = [];
  for (const image of images) {
    step.push(image);
    if (step.length < IMAGES_PER_STEP) continue;
    await commit(step);
    step = [];
  }
  await commit(step);
  await tables.environment.write(() => tables.meta.put('format', LAYOUT), { frees: true });
  await tables.environment.close();
}

function enter(tables: Built.IndexTables, image: IndexedImage, withBlobs: boolean): void {
  const { digest, bytes, blobs, usedAt } = image;
  const repository = `docker.io/${image.repository}`;
  tables.manifests.put(manifestOf({ digest, mediaType: MANIFEST_TYPE, bytes }), usedAt);
  tables.manifests.index(digest, usedAt);
  for (const blob of blobs) {
    if (withBlobs) tables.blobs.put(blob.digest, blob.size, usedAt);
    tables.links.put(repository, blob.digest, { by: 'manifest', size: blob.size });
  }
  // Otherwise the server would enter them itself, when the manifest is first asked for.
  tables.links.put(repository, digest, { by: 'upstream', size: bytes.length, withBlobs: true });
  tables.repositories.list(repository);
}
