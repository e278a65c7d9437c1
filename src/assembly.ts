import { join } from 'node:path';
import type { Settings } from './config/settings.ts';
import { createFollowUps } from './follow-ups.ts';
import { knownClients } from './known-clients.ts';
import { createControl, type Control } from './http/control-routes.ts';
import { systemClock } from './lib/clock.ts';
import type { Undo } from './lib/undo.ts';
import type { Logger } from './log/log.ts';
import { createManifestParts } from './manifests.ts';
import { Metrics } from './metrics/metrics.ts';
import { parsePlatform } from './oci/platform.ts';
import { repositoryKey } from './oci/reference.ts';
import { BlobPuller } from './pull/blob-puller.ts';
import { Completeness } from './pull/completeness.ts';
import { ClientPlatforms } from './pull/client-platforms.ts';
import { ContentCare } from './pull/content-care.ts';
import { ContentLinks } from './pull/content-links.ts';
import { ContentRepair } from './pull/content-repair.ts';
import { ImageOperations, type ImageRequest } from './pull/image-operations.ts';
import { ImageResolver } from './pull/image-resolver.ts';
import { IndexMembers } from './pull/index-members.ts';
import { Listing } from './pull/listing.ts';
import { ManifestPuller } from './pull/manifest-puller.ts';
import type { Operations } from './pull/operations.ts';
import { PlatformResolver } from './pull/platform-resolver.ts';
import { PullService } from './pull/pull-service.ts';
import { Referrers } from './pull/referrers.ts';
import { RepositoryAccess } from './pull/repository-access.ts';
import { TagRefresh, type Refreshed } from './pull/tag-refresh.ts';
import {
  diskReporter,
  fillReporter,
  findingReporter,
  indexReporter,
  lossReporter,
  removalReporter,
} from './reports.ts';
import { openDiskBlobStore } from './store/blob/disk.ts';
import { DiskBlobAudit } from './store/blob/disk-audit.ts';
import { FileHasher } from './store/blob/file-hasher.ts';
import type { DataDirLock } from './store/data-dir.ts';
import { createGuardedStore } from './store/manifest/guarded.ts';
import { openIndex } from './store/manifest/lmdb.ts';
import { createReferrersStore } from './store/manifest/lmdb-referrers.ts';
import { createMemoryStore } from './store/manifest/memory.ts';
import { createRedisStore } from './store/manifest/redis.ts';
import { createTieredStore } from './store/manifest/tiered.ts';
import { createRedisBudgets } from './store/redis/budgets.ts';
import { RedisConnection } from './store/redis/connection.ts';
import { createRedisFleetLock } from './store/redis/fleet-lock.ts';
import { openSpace, type Space } from './store/space/space.ts';
import { createUpstreams } from './upstreams.ts';

/** Manifests that are kept in memory, in bytes: some ten thousand. */
const MEMORY_MANIFEST_BYTES = 64 * 1024 * 1024;
/** Lists of referrers grow, even where tags never move. */
const MAX_REFERRERS_TTL_MS = 24 * 60 * 60 * 1000;

export interface AssemblyOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly log: Logger;
  /** The time by which things are fresh, stale, cold or in use; ms since the epoch. Default the system's. */
  readonly now?: () => number;
}

/** What serves and what commands use. */
export interface Parts {
  readonly pull: PullService;
  readonly metrics: Metrics;
  readonly control: Control;
  readonly operations: Operations;
  readonly refresh: (request: ImageRequest) => Promise<Refreshed>;
  readonly care: ContentCare;
  readonly space: Space;
  readonly degraded: () => readonly string[];
}

/** Puts the parts together and answers commands from then on. What is to be given back goes to `undo`. */
export async function assemble(options: AssemblyOptions, lock: DataDirLock, undo: Undo): Promise<Parts> {
  const { settings, log, now = Date.now } = options;
  const { dataDir } = settings;
  const index = openIndex(join(dataDir, 'index'), { now });
  const onFailure = (failure: string): void => metrics.redisError(failure);
  const redis =
    settings.redisUrl === undefined
      ? undefined
      : new RedisConnection({ url: settings.redisUrl, callTimeoutMs: settings.redisTimeoutMs, onFailure });
  undo.push(async () => redis?.close());
  const metrics = new Metrics({
    fills: () => blobPuller.running,
    queuedFills: () => blobPuller.queued,
    blobs: () => blobs.totals(),
    manifests: () => index.manifestTotals(),
    redis: () => redis?.state,
    watchedTags: () => watch.size,
    fleetWaiting: () => fleet.waiting,
    room: () => space.figures(),
    coldestAgeMs: () => space.coldestAgeMs(),
    indexBytes: () => index.fileBytes(),
  });
  const memory = createMemoryStore({ maxManifestBytes: MEMORY_MANIFEST_BYTES });
  const indexReport = indexReporter(log, metrics);
  const embedded = createGuardedStore(index, { probe: () => index.probe(), ...indexReport });
  const shared =
    redis === undefined ? {} : { shared: createRedisStore({ connection: redis, onFailure, now }) };
  const store = createTieredStore({ memory, embedded, ...shared });
  undo.push(() => store.close());
  await index.upgrade();
  const budgets = redis === undefined ? {} : { sharedBudgets: createRedisBudgets(redis, { now }) };
  const upstreams = createUpstreams({ settings, version: options.version, log, ...budgets }, metrics);
  undo.push(async () => {
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()));
  });
  const links = new ContentLinks(store);
  const reportRemoval = removalReporter(log, metrics);
  const space = await openSpace({
    dataDir,
    tables: index.tables,
    limit: settings.cacheSize,
    canRefill: () => [...upstreams.values()].every((upstream) => upstream.isReachable()),
    now,
    onRemoved: (removed, reason) => {
      memory.forget(removed);
      links.forget(removed.manifests);
      reportRemoval(removed, reason);
    },
    onUnknownManifest: (digest) => store.restore(digest),
    onRemovedFile: (digest) => log.warn({ digest }, 'removed a file that the index does not know'),
    onError: indexReport.onError,
  });
  undo.push(() => space.close());
  const blobs = await openDiskBlobStore({
    dataDir,
    index,
    room: space.room,
    holds: space.holds,
    onRead: (digest) => space.usage.touchBlob(digest),
    onHealth: diskReporter(log),
    onLost: lossReporter(log, metrics),
  });
  undo.push(() => blobs.close());
  const access = new RepositoryAccess({
    store,
    privatePatterns: new Map(
      Object.entries(settings.upstreams).map(([host, entry]) => [host, entry.private]),
    ),
    now,
  });
  const { pins } = index.tables;
  const { negative, fetcher, heads, freshness, watch, fleet } = createManifestParts({
    settings,
    metrics,
    store,
    access,
    lock: redis === undefined ? undefined : createRedisFleetLock(redis),
    pins: {
      isPinned: (repository, tag) => pins.has({ kind: 'tag', repository: repositoryKey(repository), tag }),
    },
    now,
  });
  undo.push(async () => watch.close());
  const clients = new ClientPlatforms(
    parsePlatform(settings.defaultPlatform) ?? { os: 'linux', architecture: 'amd64' },
  );
  const members = new IndexMembers();
  const blobPuller = new BlobPuller({
    blobs,
    links,
    access,
    maxFills: settings.fills,
    segmentLimits: { maxStreams: settings.fillSegments, minGapBytes: settings.fillSegmentGapBytes },
    onFillEnd: fillReporter(log, metrics),
    onElsewhere: () => metrics.bypassedRange(),
  });
  const followUps = createFollowUps({
    settings,
    log,
    metrics,
    store,
    links,
    fetcher,
    negative,
    members,
    clients,
    blobs: blobPuller,
  });
  undo.push(() => blobPuller.close());
  undo.push(() => followUps.close());
  const manifests = new ManifestPuller({
    store,
    access,
    links,
    fetcher,
    heads,
    freshness,
    watch,
    negative,
    resolver: new PlatformResolver(clients),
    members,
    usage: space.usage,
    completeness: new Completeness({ blobs, isFilling: (digest) => blobPuller.isFilling(digest) }),
  });
  const pull = new PullService({
    upstreams,
    manifests,
    blobs: blobPuller,
    listing: new Listing({ catalogue: index, access, upstreams }),
    referrers: new Referrers({
      store: createReferrersStore(index.tables, indexReport.onError),
      access,
      negative,
      ttlMs: settings.tagTtlMs === 'never' ? MAX_REFERRERS_TTL_MS : settings.tagTtlMs,
      now,
    }),
    onManifest: followUps.manifestServed,
    onBlob: followUps.blobAsked,
  });
  const hasher = new FileHasher();
  undo.push(() => hasher.close());
  const care = new ContentCare({
    audit: new DiskBlobAudit({ dataDir, index, hasher, holds: space.holds }),
    manifests: index,
    bookmarks: index,
    blobs,
    repair: new ContentRepair({ catalogue: index, store: index, upstreams, fetcher, blobs: blobPuller }),
    clock: systemClock,
    onScrubbed: (bytes) => metrics.scrubbed(bytes),
    onFinding: findingReporter(log, metrics),
    onError: (error) => log.error({ err: error }, 'scrub'),
  });
  undo.push(() => care.close());
  const images = new ImageOperations(space.images);
  const refresh = new TagRefresh({ store, upstreams, freshness, negative });
  const imageResolver = new ImageResolver({
    upstreams,
    manifests,
    fetcher,
    store,
    blobs,
    clients: knownClients(settings),
  });
  const operations: Operations = {
    verify: (request, run) => care.verify(request, run),
    resolve: (request, { signal }) => imageResolver.resolve(request, signal),
    pin: (request) => images.pin(request),
    unpin: (request) => images.unpin(request),
    remove: (request) => images.remove(request),
    refresh: (request) => refresh.run(request),
  };
  const control = createControl({
    operations,
    version: options.version,
    onInternalError: (error) => log.error({ err: error, kind: 'control' }, 'internal error'),
  });
  undo.push(() => control.stop());
  // From now on commands are answered, whether or not the addresses for clients can be listened on.
  lock.answerBy(control.listener);
  return {
    pull,
    metrics,
    control,
    operations,
    refresh: (request) => refresh.run(request),
    care,
    space,
    degraded: () => [
      ...(redis === undefined || redis.state === 'up' ? [] : ['redis']),
      ...(blobs.isFailing || space.isCramped ? ['disk'] : []),
      ...(embedded.isFailing ? ['index'] : []),
      ...[...upstreams.values()].filter((upstream) => !upstream.isReachable()).map(({ host }) => host),
    ],
  };
}
