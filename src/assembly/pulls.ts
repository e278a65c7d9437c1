import type { Settings } from '../config/settings.ts';
import type { Undo } from '../lib/undo.ts';
import type { Logger } from '../log/log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { parsePlatform } from '../oci/platform.ts';
import { repositoryKey } from '../oci/reference.ts';
import { BlobPuller } from '../pull/blob-puller.ts';
import { ClientPlatforms } from '../pull/client-platforms.ts';
import { Completeness } from '../pull/completeness.ts';
import { HotManifests } from '../pull/hot-manifests.ts';
import { IndexMembers } from '../pull/index-members.ts';
import { Listing } from '../pull/listing.ts';
import { ManifestPuller } from '../pull/manifest-puller.ts';
import { PlatformResolver } from '../pull/platform-resolver.ts';
import { PullRules } from '../pull/pull-rules.ts';
import { PullService, type PullServiceOptions } from '../pull/pull-service.ts';
import { Referrers } from '../pull/referrers.ts';
import { RepositoryAccess } from '../pull/repository-access.ts';
import { TagScope } from '../pull/tag-scope.ts';
import type { FleetLock } from '../store/fleet-lock.ts';
import { createReferrersStore } from '../store/manifest/lmdb-referrers.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { createFollowUps } from './follow-ups.ts';
import { createManifestParts, type ManifestParts } from './manifests.ts';
import { fillReporter, indexReporter } from './reports.ts';
import type { Storage } from './storage.ts';
import { privatePatterns } from './upstreams.ts';

/** Lists of referrers grow, even where tags never move. */
const MAX_REFERRERS_TTL_MS = 24 * 60 * 60 * 1000;

export interface PullsOptions {
  readonly settings: Settings;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly storage: Storage;
  /** Undefined: there is no fleet. */
  readonly lock: FleetLock | undefined;
  readonly duringRequest: PullServiceOptions['duringRequest'];
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** What answers clients, and the parts of it that commands use as well. */
export interface Pulls extends ManifestParts {
  readonly service: PullService;
  readonly manifests: ManifestPuller;
  readonly blobPuller: BlobPuller;
  /** What the settings let anybody have. */
  readonly scope: TagScope;
  readonly access: RepositoryAccess;
  readonly referrers: Referrers;
}

/** What is to be given back goes to `undo`. */
export function createPulls(options: PullsOptions, undo: Undo): Pulls {
  const { settings, log, metrics, upstreams, storage, lock, now } = options;
  const { index, blobs, links, space } = storage;
  const store = storage.manifests;
  const scope = new TagScope(new PullRules(settings.upstreams), store);
  const access = new RepositoryAccess({ store, scope, privatePatterns: privatePatterns(settings), now });
  const { pins } = index.tables;
  const parts = createManifestParts({
    settings,
    metrics,
    store,
    links,
    access,
    lock,
    pins: {
      isPinned: (repository, tag) => pins.has({ kind: 'tag', repository: repositoryKey(repository), tag }),
    },
    now,
  });
  const { negative, fetcher } = parts;
  undo.push(async () => parts.watch.close());
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
  });
  undo.push(() => blobPuller.close());
  const ahead = { store, links, fetcher, negative, members, clients, blobs: blobPuller };
  const followUps = createFollowUps({ settings, log, metrics, history: storage.history, ...ahead });
  undo.push(() => followUps.close());
  const resolver = new PlatformResolver(clients);
  const looks = { ...parts, access, links, resolver, members, usage: space.usage };
  const hot = new HotManifests({ ...looks, remembered: store.remembered });
  const manifests = new ManifestPuller({
    ...looks,
    store,
    completeness: new Completeness({ blobs, isFilling: (digest) => blobPuller.isFilling(digest) }),
  });
  const referrers = new Referrers({
    tags: store,
    store: createReferrersStore({
      tables: index.tables,
      onError: indexReporter(log, metrics).onError,
      hasRoom: (bytes) => storage.space.mayGrow(bytes),
    }),
    access,
    negative,
    ...(settings.readAhead === 'off' ? {} : { ahead: parts }),
    ttlMs: settings.tagTtlMs === 'never' ? MAX_REFERRERS_TTL_MS : settings.tagTtlMs,
    now,
  });
  const service = new PullService({
    upstreams,
    hot,
    manifests,
    blobs: blobPuller,
    listing: new Listing({ catalogue: index, access, upstreams }),
    referrers,
    duringRequest: options.duringRequest,
    onManifest: followUps.manifestServed,
    onBlob: followUps.blobAsked,
  });
  return { ...parts, service, manifests, blobPuller, access, referrers, scope };
}
