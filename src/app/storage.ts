import type { Settings } from '../config/settings.ts';
import type { Tell } from '../events/events.ts';
import { ContentLinks } from '../mirror/access/links.ts';
import { DiskBlobAudit } from '../store/blob/audit.ts';
import { openDiskBlobStore } from '../store/blob/disk.ts';
import { BlobLeases } from '../store/blob/leases.ts';
import type { BlobAudit, BlobStore } from '../store/blobs.ts';
import { HistoryBuffer } from '../store/catalog/history.ts';
import { ImageCatalog } from '../store/catalog/images.ts';
import type { Images } from '../store/images.ts';
import { indexPath, setDamagedAside } from '../store/index/inspection.ts';
import type { Removed } from '../store/index/removal.ts';
import { openIndex, type Index } from '../store/manifest/lmdb.ts';
import { LocalStore } from '../store/manifest/local.ts';
import { TieredStore } from '../store/manifest/tiers.ts';
import { FileHasher } from '../store/part/hashing.ts';
import type { SharedStore } from '../store/redis/manifests.ts';
import type { RemovalReason } from '../store/space/remover.ts';
import { openSpace, type Space } from '../store/space/space.ts';
import type { Cleanup } from './cleanup.ts';

/** Manifests in memory: about 10,000. */
const MEMORY_MANIFEST_BYTES = 64 * 1024 * 1024;

interface StorageOptions {
  readonly settings: Settings;
  readonly tell: Tell;
  /** Manifests in Redis. Undefined: there is no fleet. */
  readonly shared: SharedStore | undefined;
  /** Whether upstream could send evicted content again. */
  readonly canRefill: () => boolean;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** Manifests in their tiers, blobs on disk, and the room for both. */
export interface Storage {
  readonly index: Index;
  /** Memory and `index`, with misses in place of errors. */
  readonly local: LocalStore;
  /** `local` and Redis as one. */
  readonly manifests: TieredStore;
  readonly blobs: BlobStore;
  readonly audit: BlobAudit;
  readonly links: ContentLinks;
  readonly space: Space;
  readonly images: Images;
  readonly history: HistoryBuffer;
}

/** Opens the data directory of the settings. */
export async function openStorage(options: StorageOptions, cleanup: Cleanup): Promise<Storage> {
  const { settings, tell, shared, now } = options;
  const { dataDir } = settings;
  const path = indexPath(dataDir);
  const damaged = await setDamagedAside(path, now());
  if (damaged !== undefined) tell('indexDamaged', damaged);
  const index = openIndex(path, { now, tell });
  cleanup.push(() => index.close());
  await index.upgrade();
  const { tables } = index;
  const leases = new BlobLeases();
  const hasher = new FileHasher();
  const audit = new DiskBlobAudit({ dataDir, index, hasher, leases });
  const space = await openSpace({
    dataDir,
    tables,
    limit: settings.cacheSize,
    canRefill: options.canRefill,
    now,
    leases,
    takeIn: (digest, signal) => audit.check(digest, { signal }),
    tell,
  });
  const hasRoom = (bytes: number): boolean => space.mayGrow(bytes);
  const local = new LocalStore({
    index,
    maxManifestBytes: MEMORY_MANIFEST_BYTES,
    probe: () => index.probe(),
    hasRoom,
    tell,
    now,
  });
  const manifests = new TieredStore({ local, shared });
  cleanup.push(() => manifests.close());
  cleanup.push(() => hasher.close());
  cleanup.push(() => space.close());
  const links = new ContentLinks(manifests);
  space.listen({
    onRemoved: (removed, reason) => {
      local.forget(removed);
      tellRemoved(removed, reason, tell);
    },
    onUnknownManifest: (digest) => local.restore(digest),
  });
  const blobs = await openDiskBlobStore({
    dataDir,
    index,
    room: space.room,
    leases,
    onRead: (digest) => space.usage.touchBlob(digest),
    tell,
  });
  cleanup.push(() => blobs.close());
  const { remover, pinned, limitBytes } = space;
  const images = new ImageCatalog({ tables, remover, pinned, limitBytes, now });
  const history = new HistoryBuffer({
    tables,
    maxAgeMs: settings.historyAgeMs,
    maxEntries: settings.historyEntries,
    hasRoom,
    now,
    tell,
  });
  cleanup.push(() => history.close());
  // Last, since a tag that moves uses all parts above.
  manifests.start();
  return { index, local, manifests, blobs, audit, links, space, images, history };
}

function tellRemoved({ manifests, blobs }: Removed, reason: RemovalReason, tell: Tell<'removed'>): void {
  if (manifests.size === 0 && blobs.size === 0) return;
  const bytes = [...blobs.values()].reduce((sum, size) => sum + size, 0);
  tell('removed', { reason, manifests: [...manifests], blobs: blobs.size, bytes });
}
