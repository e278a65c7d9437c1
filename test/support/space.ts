import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { manifestOf, type Manifest } from '../../src/oci/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { repositoryKey, type Repository } from '../../src/oci/reference.ts';
import { DiskBlobAudit } from '../../src/store/blob/audit.ts';
import { openDiskBlobStore } from '../../src/store/blob/disk.ts';
import type { BlobStore } from '../../src/store/blobs.ts';
import { BlobLeases } from '../../src/store/blob/leases.ts';
import { ImageCatalog } from '../../src/store/catalog/images.ts';
import type { Images } from '../../src/store/images.ts';
import type { Removed } from '../../src/store/index/removal.ts';
import { openIndex, type Index } from '../../src/store/manifest/lmdb.ts';
import type { Link } from '../../src/store/manifests.ts';
import { FileHasher } from '../../src/store/part/hashing.ts';
import { blobPath } from '../../src/store/part/layout.ts';
import { type SizeLimit, openSpace, type Space, type SpaceOptions } from '../../src/store/space/space.ts';
import { testFolder } from './temp.ts';
import { tellNobody, tellTo } from './told.ts';

export const APP: Repository = { host: 'docker.io', name: 'library/app' };

/** An index and files with room of their own, and a clock that stands still until it is told. */
export interface TestSpace {
  readonly dataDir: string;
  readonly index: Index;
  readonly space: Space;
  readonly images: Images;
  readonly removed: Removed[];
  readonly takeIn: SpaceOptions['takeIn'];
  /** ms since the epoch. */
  now: number;
  canRefill: boolean;
  /** Writes the file and enters it. */
  addBlob(name: string, size: number): Promise<Digest>;
  /** A blob whose file is what its digest names. */
  addContent(content: Buffer): Promise<Digest>;
  /** An image of these blobs, whether they are there or not, under a tag if one is given. */
  addImage(options: ImageOptions): Promise<Manifest>;
  addIndex(options: {
    readonly of: readonly Manifest[];
    readonly attestations?: readonly Attestation[];
    readonly tag?: string;
    readonly repository?: Repository;
  }): Promise<Manifest>;
  /** As a GET of the manifest does; resolves when it is written. */
  pull(manifest: Manifest): Promise<void>;
  files(): Promise<string[]>;
  isStored(manifest: Manifest): boolean;
  /** The blobs, which its caller closes. */
  openBlobs(): Promise<BlobStore>;
  /** Holds room for `bytes` and gives it back: what had to go for it is gone. */
  want(bytes: number): Promise<void>;
  /** Throws what failed in the background. Done when the test ends, if not before. */
  close(): Promise<void>;
}

export interface ImageOptions {
  /** Makes it another one. */
  readonly name: string;
  readonly blobs: readonly { readonly digest: Digest; readonly size: number }[];
  readonly tag?: string;
  readonly repository?: Repository;
  /** Nothing that could be run. Default false. */
  readonly isStatement?: boolean;
}

/** A manifest that an index says to speak of another one. */
export interface Attestation {
  readonly manifest: Manifest;
  readonly of: Manifest;
}

export interface TestSpaceOptions {
  /** The limit in bytes; the index counts for nothing then. */
  readonly blobLimit?: number;
  readonly limit?: SizeLimit;
  readonly dataDir?: string;
}

export async function openTestSpace(options: TestSpaceOptions): Promise<TestSpace> {
  const dataDir = options.dataDir ?? (await testFolder());
  const state = { now: 1_700_000_000_000, canRefill: true };
  const now = (): number => state.now;
  const index = openIndex(join(dataDir, 'index'), { now });
  await index.upgrade();
  const removed: Removed[] = [];
  const failures: unknown[] = [];
  const { tables } = index;
  // Its file is larger than all the blobs of a test, and would hide what becomes of those.
  if (options.blobLimit !== undefined) tables.environment.fileBytes = () => 0;
  const hasher = new FileHasher();
  const leases = new BlobLeases();
  const audit = new DiskBlobAudit({ dataDir, index, hasher, leases });
  const takeIn: TestSpace['takeIn'] = (digest, signal) => audit.check(digest, { signal });
  const space = await openSpace({
    dataDir,
    tables,
    limit: options.limit ?? { bytes: options.blobLimit ?? 0 },
    canRefill: () => state.canRefill,
    now,
    leases,
    takeIn,
    tell: tellTo({ indexFailed: ({ error }) => failures.push(error) }),
  });
  space.listen({
    onRemoved: (each) => removed.push(each),
    onUnknownManifest: () => Promise.resolve(),
  });
  const { remover, pinned, limitBytes } = space;
  const images = new ImageCatalog({ tables, remover, pinned, limitBytes, now });
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await space.close();
    await hasher.close();
    await index.close();
    if (failures.length > 0) throw failures[0];
  };
  onTestFinished(() => (closed ??= close()));
  const put = async (
    manifest: Manifest,
    named: readonly { readonly digest: Digest; readonly size: number }[],
    { tag, repository = APP }: { readonly tag?: string | undefined; readonly repository?: Repository },
  ): Promise<Manifest> => {
    const { descriptor } = manifest;
    await index.putManifest(manifest);
    const links = new Map<Digest, Link>(
      named.map((each) => [each.digest, { by: 'manifest', size: each.size }]),
    );
    await index.putLinks(repository, links.set(descriptor.digest, { by: 'upstream', size: descriptor.size }));
    const at = state.now;
    if (tag !== undefined)
      await index.putTag(repository, tag, { descriptor, checkedAt: at, confirmedAt: at });
    return manifest;
  };
  const putBlob = async (digest: Digest, content: Buffer): Promise<Digest> => {
    await mkdir(dirname(blobPath(dataDir, digest)), { recursive: true });
    await writeFile(blobPath(dataDir, digest), content);
    await index.putBlob(digest, { size: content.length });
    return digest;
  };
  return {
    dataDir,
    index,
    takeIn,
    space,
    images,
    removed,
    get now() {
      return state.now;
    },
    set now(value) {
      state.now = value;
    },
    get canRefill() {
      return state.canRefill;
    },
    set canRefill(value) {
      state.canRefill = value;
    },
    addBlob: (name, size) => putBlob(digestOf(Buffer.from(name)), Buffer.alloc(size)),
    addContent: (content) => putBlob(digestOf(content), content),
    addImage: ({ name, blobs, isStatement, ...where }) =>
      put(imageManifest(name, blobs, isStatement), blobs, where),
    addIndex: ({ of, attestations = [], ...where }) => {
      const all = [...of, ...attestations.map(({ manifest }) => manifest)];
      const children = all.map(({ descriptor: { digest, size } }) => ({ digest, size }));
      return put(indexManifest(of, attestations), children, where);
    },
    pull: async ({ descriptor }) => {
      space.usage.touch(descriptor);
      await space.usage.flush();
    },
    files: () => blobFiles(dataDir),
    isStored: ({ descriptor }) => tables.manifests.has(descriptor.digest),
    openBlobs: () =>
      openDiskBlobStore({ dataDir, index, room: space.room, leases: space.leases, tell: tellNobody }),
    want: async (bytes) => {
      (await space.room.reserve(bytes)).release();
    },
    close: () => (closed ??= close()),
  };
}

export function imageManifest(
  name: string,
  blobs: readonly { readonly digest: Digest; readonly size: number }[],
  isStatement = false,
): Manifest {
  const [config = descriptorOf(digestOf(Buffer.from('none')), 4), ...layers] = blobs.map(({ digest, size }) =>
    descriptorOf(digest, size),
  );
  const mediaType = isStatement
    ? 'application/vnd.oci.empty.v1+json'
    : 'application/vnd.oci.image.config.v1+json';
  return manifestFrom(OCI_MANIFEST, { config: { ...config, mediaType }, layers, annotations: { name } });
}

export function indexManifest(
  children: readonly Manifest[],
  attestations: readonly Attestation[] = [],
): Manifest {
  const entry = ({ descriptor }: Manifest) => descriptor;
  return manifestFrom(OCI_INDEX, {
    manifests: [
      ...children.map((child, at) => ({
        ...entry(child),
        platform: { os: 'linux', architecture: at === 0 ? 'amd64' : 'arm64' },
      })),
      ...attestations.map(({ manifest, of }) => ({
        ...entry(manifest),
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': of.descriptor.digest,
        },
      })),
    ],
  });
}

function manifestFrom(mediaType: string, document: object): Manifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...document }));
  return manifestOf({ digest: digestOf(bytes), mediaType, bytes });
}

function descriptorOf(digest: Digest, size: number) {
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size };
}

/** The digests that have files, in order. */
export async function blobFiles(dataDir: string): Promise<string[]> {
  const names = await readdir(join(dataDir, 'blobs'), { recursive: true }).catch(() => []);
  return names
    .map((name) => name.split('/'))
    .filter((path) => path.length === 3)
    .map(([algorithm, , hex]) => `${algorithm}:${hex}`)
    .sort();
}

/** What links the index has in a repository, in order. */
export function linksOf({ index }: Pick<TestSpace, 'index'>, repository: Repository = APP): Digest[] {
  return index.tables.links
    .page(1000)
    .filter(([name]) => name === repositoryKey(repository))
    .map(([, digest]) => digest);
}
