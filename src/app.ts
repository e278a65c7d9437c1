import { createAdaptorServer } from '@hono/node-server';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { ShownSetting } from './config/shown.ts';
import type { Settings } from './config/settings.ts';
import { createAdminRoutes } from './http/admin-routes.ts';
import { createControl, type Control } from './http/control-routes.ts';
import type { Health } from './http/health.ts';
import { drainWithin, listen } from './http/listener.ts';
import { createRegistryServer } from './http/registry-server.ts';
import { systemClock } from './lib/clock.ts';
import { Undo } from './lib/undo.ts';
import type { Logger } from './log/log.ts';
import { Metrics } from './metrics/metrics.ts';
import { parsePlatform } from './oci/platform.ts';
import { BlobPuller } from './pull/blob-puller.ts';
import { ContentCare } from './pull/content-care.ts';
import { ContentLinks } from './pull/content-links.ts';
import { ContentRepair } from './pull/content-repair.ts';
import { TagFreshness } from './pull/freshness.ts';
import { ImageOperations } from './pull/image-operations.ts';
import { Listing } from './pull/listing.ts';
import { ManifestFetcher } from './pull/manifest-fetcher.ts';
import { ManifestPuller } from './pull/manifest-puller.ts';
import { NegativeCache } from './pull/negative-cache.ts';
import type { Operations } from './pull/operations.ts';
import { PlatformResolver } from './pull/platform-resolver.ts';
import { PullService } from './pull/pull-service.ts';
import { RepositoryAccess } from './pull/repository-access.ts';
import {
  diskReporter,
  fillReporter,
  findingReporter,
  indexReporter,
  lossReporter,
  removalReporter,
  reportExchange,
} from './reports.ts';
import { openDiskBlobStore } from './store/blob/disk.ts';
import { DiskBlobAudit } from './store/blob/disk-audit.ts';
import { FileHasher } from './store/blob/file-hasher.ts';
import { takeDataDir, type DataDirLock } from './store/data-dir.ts';
import { createGuardedStore } from './store/manifest/guarded.ts';
import { listImages, type ImageEntry } from './store/image-list.ts';
import { openIndex } from './store/manifest/lmdb.ts';
import { createMemoryStore } from './store/manifest/memory.ts';
import { createRedisStore } from './store/manifest/redis.ts';
import { createTieredStore } from './store/manifest/tiered.ts';
import { openSpace, type Space } from './store/space/space.ts';
import { createUpstreams } from './upstreams.ts';

/*
 * The way of a request, and where to read on:
 * 1. http/registry-server.ts takes it from the socket: is the client's network allowed? is it HTTP at all?
 * 2. http/registry-routes.ts parses target and headers (oci/) into a question: which repository, which reference?
 * 3. pull/pull-service.ts finds the upstream; pull/repository-access.ts says whether the repository may be served.
 * 4. A manifest: pull/manifest-puller.ts looks in the stores (memory, LMDB, Redis), has the tag checked by
 *    pull/freshness.ts when it is stale, fetches by pull/manifest-fetcher.ts what is missing, and fits a list to a
 *    client that takes none (pull/platform-resolver.ts).
 * 5. A blob: pull/blob-puller.ts opens it on the disk, or joins its fill, or starts one (pull/blob-fill.ts).
 * 6. upstream/client.ts asks the registry: tokens, redirects, time limits; every answer is one of a few outcomes.
 * 7. http/manifest-response.ts, blob-response.ts or error-response.ts renders what came of it.
 * 8. When the answer is over: one line in the log, one count in the metrics.
 */

/** A remembered absence may be wrong for so long. */
const NEGATIVE_TTL_MS = 10_000;
/** Manifests that are kept in memory, in bytes: some ten thousand. */
const MEMORY_MANIFEST_BYTES = 64 * 1024 * 1024;
/** How long running answers may take to finish when the server stops. */
const DRAIN_MS = 30_000;

export interface AppOptions {
  readonly settings: Settings;
  /** The settings with their sources, secrets masked, for the admin API. */
  readonly shown: readonly ShownSetting[];
  readonly version: string;
  readonly log: Logger;
  /** The time by which things are fresh, stale, cold or in use; ms since the epoch. Default the system's. */
  readonly now?: () => number;
}

export interface App {
  readonly listenUrl: string;
  readonly adminUrl: string | undefined;
  /** Stops accepting, lets answers finish for up to 30 s, and gives everything back. */
  stop(): Promise<void>;
}

/** The data directory in the hands of a command: no address is listened on. */
export interface CommandApp {
  readonly operations: Operations;
  /** Waits for what other commands have asked of this process, and gives everything back. */
  finish(): Promise<void>;
  /** Ends what runs, and gives everything back. */
  stop(): Promise<void>;
}

/** Builds the server out of its parts and starts it. Throws DataDirError, or the system's error for an address. */
export function startApp(options: AppOptions): Promise<App> {
  return takenDataDir(options, (parts, undo) => serve(options, parts, undo));
}

/** Takes the data directory for a command. Throws DataDirError. */
export function openCommandApp(options: AppOptions): Promise<CommandApp> {
  return takenDataDir(options, ({ operations, control }, { giveBack }) =>
    Promise.resolve({
      operations,
      finish: async () => {
        await control.drain();
        await giveBack();
      },
      stop: giveBack,
    }),
  );
}

/** What is kept, read beside whoever owns the data directory. Throws IndexError. */
export async function* readImages(dataDir: string): AsyncGenerator<ImageEntry> {
  const index = openIndex(join(dataDir, 'index'), { readOnly: true });
  try {
    yield* listImages(index.tables);
  } finally {
    await index.close();
  }
}

async function takenDataDir<T>(
  options: AppOptions,
  use: (parts: Parts, undo: Undo) => Promise<T>,
): Promise<T> {
  const undo = new Undo();
  try {
    const lock = await takeDataDir(options.settings.dataDir);
    undo.push(() => lock.release());
    return await use(await assemble(options, lock, undo), undo);
  } catch (error) {
    await undo.giveBack();
    options.log.flush();
    throw error;
  }
}

/** What serves and what commands use. */
interface Parts {
  readonly pull: PullService;
  readonly metrics: Metrics;
  readonly control: Control;
  readonly operations: Operations;
  readonly care: ContentCare;
  readonly space: Space;
  readonly degraded: () => readonly string[];
}

async function assemble(options: AppOptions, lock: DataDirLock, undo: Undo): Promise<Parts> {
  const { settings, log, now = Date.now } = options;
  const { dataDir } = settings;
  const index = openIndex(join(dataDir, 'index'), { now });
  const redis =
    settings.redisUrl === undefined
      ? undefined
      : createRedisStore({ url: settings.redisUrl, onError: (kind) => metrics.redisError(kind) });
  const metrics = new Metrics({
    fills: () => blobPuller.running,
    queuedFills: () => blobPuller.queued,
    blobs: () => blobs.totals(),
    manifests: () => index.manifestTotals(),
    redis: () => redis?.state(),
    room: () => space.figures(),
    coldestAgeMs: () => space.coldestAgeMs(),
    indexBytes: () => index.fileBytes(),
  });
  const memory = createMemoryStore({ maxManifestBytes: MEMORY_MANIFEST_BYTES });
  const indexReport = indexReporter(log, metrics);
  const embedded = createGuardedStore(index, { probe: () => index.probe(), ...indexReport });
  const store = createTieredStore({ memory, embedded, ...(redis === undefined ? {} : { shared: redis }) });
  undo.push(() => store.close());
  await index.upgrade();
  const reportRemoval = removalReporter(log, metrics);
  const space = await openSpace({
    dataDir,
    tables: index.tables,
    limit: settings.cacheSize,
    canRefill: () => !settings.offline,
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
  const upstreams = createUpstreams(options, metrics);
  undo.push(async () => {
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()));
  });
  const access = new RepositoryAccess({
    store,
    privatePatterns: new Map(
      Object.entries(settings.upstreams).map(([host, entry]) => [host, entry.private]),
    ),
    now,
  });
  const links = new ContentLinks(store);
  const negative = new NegativeCache(NEGATIVE_TTL_MS);
  const fetcher = new ManifestFetcher({ store, access, negative });
  const freshness = new TagFreshness({
    store,
    fetcher,
    negative,
    tagTtlMs: settings.tagTtlMs,
    now,
  });
  const resolver = new PlatformResolver(
    parsePlatform(settings.defaultPlatform) ?? { os: 'linux', architecture: 'amd64' },
  );
  const blobPuller = new BlobPuller({
    blobs,
    links,
    access,
    maxFills: settings.fills,
    segmentLimits: { maxStreams: settings.fillSegments, minGapBytes: settings.fillSegmentGapBytes },
    onFillEnd: fillReporter(log, metrics),
    onElsewhere: () => metrics.bypassedRange(),
  });
  undo.push(() => blobPuller.close());
  const pull = new PullService({
    upstreams,
    manifests: new ManifestPuller({
      store,
      access,
      links,
      fetcher,
      freshness,
      negative,
      resolver,
      usage: space.usage,
      now,
    }),
    blobs: blobPuller,
    listing: new Listing({ catalogue: index, access, upstreams }),
  });
  const hasher = new FileHasher();
  undo.push(() => hasher.close());
  const care = new ContentCare({
    audit: new DiskBlobAudit({ dataDir, index, hasher }),
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
  const operations: Operations = {
    verify: (request, run) => care.verify(request, run),
    pin: (request) => images.pin(request),
    unpin: (request) => images.unpin(request),
    remove: (request) => images.remove(request),
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
    care,
    space,
    degraded: () => [
      ...(redis?.state() === 'down' ? ['redis'] : []),
      ...(blobs.isFailing || space.isCramped ? ['disk'] : []),
      ...(embedded.isFailing ? ['index'] : []),
    ],
  };
}

async function serve(options: AppOptions, parts: Parts, undo: Undo): Promise<App> {
  const { settings, log, shown } = options;
  const { pull, metrics, control, care, space } = parts;
  let isStopping = false;
  const health = (): Health => ({ isStopping, degraded: parts.degraded() });
  const registry = createRegistryServer({
    pull,
    allowNetworks: settings.allowNetworks,
    failMode: settings.failMode,
    health,
    onExchange: (exchange) => reportExchange(exchange, log, metrics),
    onInternalError: (error, exchange) => log.error({ err: error, kind: exchange.kind }, 'internal error'),
  });
  const admin = createAdminRoutes({
    adminToken: settings.adminToken,
    health,
    metrics: () => metrics.render(),
    settings: () => shown,
  });

  const listener = await listen(registry, settings.listen);
  undo.push(() => drainWithin(listener, DRAIN_MS));
  const adminListener =
    settings.adminListen === undefined
      ? undefined
      : await listen(createAdaptorServer({ fetch: admin.fetch }) as Server, settings.adminListen);
  await space.start();
  if (settings.scrubIntervalMs !== undefined) {
    care.startScrub({ intervalMs: settings.scrubIntervalMs, isIdle: () => listener.answering === 0 });
  }
  return {
    listenUrl: listener.url,
    adminUrl: adminListener?.url,
    stop: async () => {
      isStopping = true;
      await Promise.all([drainWithin(listener, DRAIN_MS), control.stop(), care.close()]);
      adminListener?.cut();
      await adminListener?.drain();
      await undo.giveBack();
    },
  };
}
