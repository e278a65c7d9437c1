import { privatePatterns } from '../config/credentials.ts';
import type { Settings } from '../config/settings.ts';
import type { Tell } from '../events/events.ts';
import { RepositoryAccess } from '../mirror/access/access.ts';
import type { ContentLinks } from '../mirror/access/links.ts';
import { PullRules, TagScope } from '../mirror/access/rules.ts';
import { NegativeCache } from '../mirror/answer/negative-cache.ts';
import { BlobPuller } from '../mirror/blob/blobs.ts';
import { Listing } from '../mirror/lists/listing.ts';
import { Referrers } from '../mirror/lists/referrers.ts';
import { TagChecker, type Pins } from '../mirror/manifest/check.ts';
import { ClientPlatforms } from '../mirror/manifest/clients.ts';
import { EarlyChecks } from '../mirror/manifest/early-checks.ts';
import { IndexEntries } from '../mirror/manifest/entries.ts';
import { ManifestFetcher, ManifestHeads } from '../mirror/manifest/fetch.ts';
import { FleetSingleFlight } from '../mirror/manifest/fleet.ts';
import { TagFreshness, TagTtls } from '../mirror/manifest/freshness.ts';
import { ManifestPuller } from '../mirror/manifest/manifests.ts';
import { MissingBlobs } from '../mirror/manifest/missing-blobs.ts';
import { PlatformResolver } from '../mirror/manifest/platforms.ts';
import { Mirror, type MirrorOptions } from '../mirror/mirror.ts';
import { parsePlatform } from '../oci/platform.ts';
import { repositoryKey } from '../oci/reference.ts';
import type { FleetLock } from '../store/fleet-lock.ts';
import { createReferrersStore } from '../store/manifest/lmdb.ts';
import type { ManifestStore } from '../store/manifests.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { createFollowUps } from './after-pulls.ts';
import type { Cleanup } from './cleanup.ts';
import type { Storage } from './storage.ts';

/**
 * Other servers wait for the holder of a lock until its time limit has run out and this time has passed, so that its
 * result reaches them. Otherwise all would ask upstream at the same moment.
 */
const FLEET_SLACK_MS = 1000;

interface ManifestPartsOptions extends Pick<PullsOptions, 'settings' | 'tell' | 'lock' | 'now'> {
  readonly store: ManifestStore;
  readonly links: ContentLinks;
  readonly access: RepositoryAccess;
  readonly pins: Pins;
}

/** The parts that ask upstream for manifests and tags. */
interface ManifestParts {
  readonly negative: NegativeCache;
  readonly fetcher: ManifestFetcher;
  readonly heads: ManifestHeads;
  readonly freshness: TagFreshness;
  readonly earlyChecks: EarlyChecks;
  readonly fleet: FleetSingleFlight;
}

function createManifestParts(options: ManifestPartsOptions): ManifestParts {
  const { settings, tell, store, links, access, lock, pins, now } = options;
  const negative = new NegativeCache(settings.negativeTtlMs);
  const fleet = new FleetSingleFlight({
    lock,
    maxWaitMs: settings.headersTimeoutMs + FLEET_SLACK_MS,
    tell,
  });
  const fetcher = new ManifestFetcher({ store, access, negative, fleet, now });
  const heads = new ManifestHeads({ store, negative, fleet, now });
  const ttls = new TagTtls({ rules: settings.tagTtlRules, otherwiseMs: settings.tagTtlMs });
  const checker = new TagChecker({
    store,
    links,
    fetcher,
    negative,
    fleet,
    deletedTags: settings.deletedTags,
    pins,
    now,
    tell,
  });
  const freshness = new TagFreshness({ store, checker, ttls, now });
  const earlyChecks = new EarlyChecks({
    store,
    checker,
    ttls,
    maxPerMinute: settings.offline ? 0 : settings.backgroundChecks,
    mayCheck: (upstream) => upstream.isReachable(),
    tell,
    now,
  });
  return { negative, fetcher, heads, freshness, earlyChecks, fleet };
}

/** Lists of referrers grow, even under `tagTtl: never`. */
const MAX_REFERRERS_TTL_MS = 24 * 60 * 60 * 1000;

export interface PullsOptions {
  readonly settings: Settings;
  readonly tell: Tell;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly storage: Storage;
  /** Undefined: there is no fleet. */
  readonly lock: FleetLock | undefined;
  readonly duringRequest: MirrorOptions['duringRequest'];
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** The mirror, and those of its parts that commands use. */
export interface Pulls extends ManifestParts {
  readonly mirror: Mirror;
  readonly manifests: ManifestPuller;
  readonly blobPuller: BlobPuller;
  /** `allow` and `deny` of the upstreams. */
  readonly scope: TagScope;
  readonly access: RepositoryAccess;
  readonly referrers: Referrers;
}

export function createPulls(options: PullsOptions, cleanup: Cleanup): Pulls {
  const { settings, tell, upstreams, storage, lock, now } = options;
  const { index, blobs, links, space } = storage;
  const store = storage.manifests;
  const scope = new TagScope(new PullRules(settings.upstreams), store);
  const access = new RepositoryAccess({ store, scope, privatePatterns: privatePatterns(settings), now });
  const { pins } = index.tables;
  const parts = createManifestParts({
    settings,
    tell,
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
  cleanup.push(async () => parts.earlyChecks.close());
  const clients = new ClientPlatforms(
    parsePlatform(settings.defaultPlatform) ?? { os: 'linux', architecture: 'amd64' },
  );
  const entries = new IndexEntries();
  const blobPuller = new BlobPuller({
    blobs,
    links,
    access,
    maxFills: settings.fills,
    segmentLimits: { maxStreams: settings.fillSegments, minGapBytes: settings.fillSegmentGapBytes },
    tell,
  });
  cleanup.push(() => blobPuller.close());
  const ahead = { store, links, fetcher, negative, entries, clients, blobs: blobPuller };
  const followUps = createFollowUps({ settings, tell, history: storage.history, ...ahead });
  cleanup.push(() => followUps.close());
  const resolver = new PlatformResolver(clients);
  const manifests = new ManifestPuller({
    ...parts,
    store,
    access,
    links,
    resolver,
    entries,
    usage: space.usage,
    missingBlobs: new MissingBlobs({ blobs, isFilling: (digest) => blobPuller.isFilling(digest) }),
  });
  const referrers = new Referrers({
    tags: store,
    store: createReferrersStore({
      tables: index.tables,
      tell,
      hasRoom: (bytes) => storage.space.mayGrow(bytes),
    }),
    access,
    negative,
    ahead: settings.readAhead === 'off' ? undefined : parts,
    ttlMs: settings.tagTtlMs === 'never' ? MAX_REFERRERS_TTL_MS : settings.tagTtlMs,
    now,
  });
  const mirror = new Mirror({
    upstreams,
    manifests,
    blobs: blobPuller,
    listing: new Listing({ catalog: index, access, upstreams }),
    referrers,
    duringRequest: options.duringRequest,
    onManifest: followUps.manifestServed,
  });
  return { ...parts, mirror, manifests, blobPuller, access, referrers, scope };
}
