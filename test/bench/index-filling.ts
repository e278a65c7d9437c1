import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const IMAGES_PER_REPOSITORY = 50;
const IMAGES_PER_STEP = 1000;
/** Of the data directory and of the index, as this version writes them. */
const LAYOUT = 2;

export interface IndexedImage {
  /** As clients call it. */
  readonly repository: string;
  readonly digest: string;
  readonly bytes: Buffer;
  readonly blobs: readonly { readonly digest: string; readonly size: number }[];
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
    digest: `sha256:${createHash('sha256').update(`${number}/${layer}`).digest('hex')}`,
    size: blobBytes,
  }));
  const [config, ...layers] = blobs.map((blob, layer) => ({
    mediaType: `application/vnd.oci.image.${layer === 0 ? 'config.v1+json' : 'layer.v1.tar+gzip'}`,
    ...blob,
  }));
  const document = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers };
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const repository = `bench/repository-${Math.floor(number / IMAGES_PER_REPOSITORY)}`;
  return { repository, digest, bytes, blobs, usedAt };
}

/** What is used of the built index. */
interface Tables {
  readonly environment: {
    write(change: () => void, options: { frees: boolean }): Promise<void>;
    close(): Promise<void>;
  };
  readonly manifests: { put(manifest: object, usedAt: number): void };
  readonly blobs: { put(digest: string, size: number, usedAt: number): void };
  readonly links: { put(repository: string, digest: string, link: object): void };
  readonly repositories: { list(repository: string): void };
  readonly meta: { put(name: string, value: number): void };
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
  const { IndexTables } = (await import(pathToFileURL(join(root, 'dist/store/index/tables.js')).href)) as {
    IndexTables: new (path: string, options: { readOnly: boolean }) => Tables;
  };
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

function enter(tables: Tables, image: IndexedImage, withBlobs: boolean): void {
  const { digest, bytes, blobs, usedAt } = image;
  const repository = `docker.io/${image.repository}`;
  tables.manifests.put({ digest, mediaType: MANIFEST_TYPE, bytes }, usedAt);
  tables.links.put(repository, digest, { by: 'upstream', size: bytes.length });
  for (const blob of blobs) {
    if (withBlobs) tables.blobs.put(blob.digest, blob.size, usedAt);
    // Without it the server would enter it itself, when the manifest is first asked for.
    tables.links.put(repository, blob.digest, { by: 'manifest', size: blob.size });
  }
  tables.repositories.list(repository);
}
