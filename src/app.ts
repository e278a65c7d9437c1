import { createAdaptorServer } from '@hono/node-server';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { ShownSetting } from './config/shown.ts';
import type { Settings, UpstreamSettings } from './config/settings.ts';
import { createAdminRoutes } from './http/admin-routes.ts';
import type { Exchange } from './http/exchange.ts';
import type { Health } from './http/health.ts';
import { listen, type Listener } from './http/listener.ts';
import { createRegistryServer } from './http/registry-server.ts';
import { logExchange } from './log/access-log.ts';
import type { Logger } from './log/log.ts';
import { Metrics } from './metrics/metrics.ts';
import { parsePlatform } from './oci/platform.ts';
import { repositoryKey } from './oci/reference.ts';
import { BlobPuller, type BlobPullerOptions } from './pull/blob-puller.ts';
import { ContentLinks } from './pull/content-links.ts';
import { TagFreshness } from './pull/freshness.ts';
import { Listing } from './pull/listing.ts';
import { ManifestFetcher } from './pull/manifest-fetcher.ts';
import { ManifestPuller } from './pull/manifest-puller.ts';
import { NegativeCache } from './pull/negative-cache.ts';
import { PlatformResolver } from './pull/platform-resolver.ts';
import { PullService } from './pull/pull-service.ts';
import { RepositoryAccess } from './pull/repository-access.ts';
import { openDiskBlobStore } from './store/blob/disk.ts';
import { createLimitedRoom } from './store/blob/limited-room.ts';
import { takeDataDir } from './store/data-dir.ts';
import { openIndex } from './store/manifest/lmdb.ts';
import { createMemoryStore } from './store/manifest/memory.ts';
import { createRedisStore } from './store/manifest/redis.ts';
import { createTieredStore } from './store/manifest/tiered.ts';
import { createUpstream } from './upstream/client.ts';
import { createOfflineUpstream } from './upstream/offline.ts';
import type { Upstream } from './upstream/upstream.ts';

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
}

export interface App {
  readonly listenUrl: string;
  readonly adminUrl: string | undefined;
  /** Stops accepting, lets answers finish for up to 30 s, and gives everything back. */
  stop(): Promise<void>;
}

/** Builds the server out of its parts and starts it. Throws DataDirError, or the system's error for an address. */
export async function startApp(options: AppOptions): Promise<App> {
  const { settings, log } = options;
  const undo: (() => Promise<void>)[] = [];
  const giveBack = async (): Promise<void> => {
    for (let last = undo.pop(); last !== undefined; last = undo.pop()) await last();
  };
  try {
    const lock = await takeDataDir(settings.dataDir);
    undo.push(() => lock.release());
    return await start(options, undo, giveBack);
  } catch (error) {
    await giveBack();
    log.flush();
    throw error;
  }
}

async function start(
  options: AppOptions,
  undo: (() => Promise<void>)[],
  giveBack: () => Promise<void>,
): Promise<App> {
  const { settings, log, shown } = options;
  const index = openIndex(join(settings.dataDir, 'index'));
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
  });
  const store = createTieredStore({
    memory: createMemoryStore({ maxManifestBytes: MEMORY_MANIFEST_BYTES }),
    embedded: index,
    ...(redis === undefined ? {} : { shared: redis }),
  });
  undo.push(() => store.close());
  const blobs = await openDiskBlobStore({
    dataDir: settings.dataDir,
    index,
    room: createLimitedRoom({
      dataDir: settings.dataDir,
      limit: settings.cacheSize,
      storedBytes: () => index.blobTotals().bytes,
    }),
    onHealth: (error) => {
      if (error === undefined) log.info('the disk takes blobs again');
      else log.error({ reason: error.message }, 'the disk refuses blobs: they are passed on and not kept');
    },
  });
  undo.push(() => blobs.close());
  const upstreams = new Map(
    Object.entries(settings.upstreams).map(([host, upstream]) => [
      host,
      upstreamFor(host, upstream, options, metrics),
    ]),
  );
  undo.push(async () => {
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()));
  });
  const access = new RepositoryAccess({
    store,
    privatePatterns: new Map(
      Object.entries(settings.upstreams).map(([host, entry]) => [host, entry.private]),
    ),
    now: Date.now,
  });
  const links = new ContentLinks(store);
  const negative = new NegativeCache(NEGATIVE_TTL_MS);
  const fetcher = new ManifestFetcher({ store, access, negative });
  const freshness = new TagFreshness({
    store,
    fetcher,
    negative,
    tagTtlMs: settings.tagTtlMs,
    now: Date.now,
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
      now: Date.now,
    }),
    blobs: blobPuller,
    listing: new Listing({ catalogue: index, access, upstreams }),
  });

  let isStopping = false;
  const health = (): Health => ({
    isStopping,
    degraded: [...(redis?.state() === 'down' ? ['redis'] : []), ...(blobs.isFailing ? ['disk'] : [])],
  });
  const registry = createRegistryServer({
    pull,
    allowNetworks: settings.allowNetworks,
    failMode: settings.failMode,
    health,
    onExchange: (exchange) => report(exchange, log, metrics),
    onInternalError: (error, exchange) => log.error({ err: error, kind: exchange.kind }, 'internal error'),
  });
  const admin = createAdminRoutes({
    adminToken: settings.adminToken,
    health,
    metrics: () => metrics.render(),
    settings: () => shown,
  });

  const listener = await listen(registry, settings.listen);
  undo.push(() => drained(listener));
  const adminListener =
    settings.adminListen === undefined
      ? undefined
      : await listen(createAdaptorServer({ fetch: admin.fetch }) as Server, settings.adminListen);
  return {
    listenUrl: listener.url,
    adminUrl: adminListener?.url,
    stop: async () => {
      isStopping = true;
      await drained(listener);
      adminListener?.cut();
      await adminListener?.drain();
      await giveBack();
    },
  };
}

/** Waits for running answers, but not for ever. */
async function drained(listener: Listener): Promise<void> {
  const timer = setTimeout(() => listener.cut(), DRAIN_MS);
  await listener.drain();
  clearTimeout(timer);
}

function upstreamFor(host: string, entry: UpstreamSettings, options: AppOptions, metrics: Metrics): Upstream {
  const { settings, version } = options;
  const { username, password, passwordFile, token, tokenFile } = entry;
  const hasCredentials = username !== undefined || token !== undefined || tokenFile !== undefined;
  if (settings.offline) return createOfflineUpstream({ host, hasCredentials });
  return createUpstream({
    host,
    url: entry.url,
    ...(entry.ca === undefined ? {} : { ca: entry.ca }),
    ...(hasCredentials ? { credentials: { username, password, passwordFile, token, tokenFile } } : {}),
    connectTimeoutMs: settings.connectTimeoutMs,
    headersTimeoutMs: settings.headersTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutMs,
    userAgent: `pierhead/${version}`,
    onRequest: ({ kind, method, outcome }) =>
      metrics.upstreamRequest({ upstream: host, kind, method, outcome }),
    onBytes: (count) => metrics.upstreamBytes(host, count),
  });
}

function fillReporter(log: Logger, metrics: Metrics): BlobPullerOptions['onFillEnd'] {
  return ({ repository, digest, error, ...end }) => {
    metrics.fillEnded(end);
    const line = { upstream: repository.host, repository: repositoryKey(repository), digest, ...end };
    if (end.result === 'stored') log.debug(line, 'fill');
    else log.warn({ ...line, reason: error instanceof Error ? error.message : undefined }, 'fill');
  };
}

function report(exchange: Exchange, log: Logger, metrics: Metrics): void {
  logExchange(log, exchange);
  metrics.request({
    kind: exchange.kind,
    status: exchange.response.statusCode,
    cache: exchange.cache,
    bytes: exchange.bytes,
    durationMs: performance.now() - exchange.startedAt,
  });
}
