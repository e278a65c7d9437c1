import type { Settings } from '../config/settings.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { ContentLinks } from '../pull/content-links.ts';
import { FleetFlight } from '../pull/fleet-flight.ts';
import { TagFreshness } from '../pull/freshness.ts';
import { ManifestFetcher } from '../pull/manifest-fetcher.ts';
import { ManifestHeads } from '../pull/manifest-heads.ts';
import { NegativeCache } from '../pull/negative-cache.ts';
import type { RepositoryAccess } from '../pull/repository-access.ts';
import { TagChecker, type Pins } from '../pull/tag-checker.ts';
import { TagTtls } from '../pull/tag-ttls.ts';
import { TagWatch } from '../pull/tag-watch.ts';
import type { FleetLock } from '../store/fleet-lock.ts';
import type { ManifestStore } from '../store/manifest-store.ts';

/** The holder of a lock is waited for until its own time is over, and has told: all would ask at once otherwise. */
const FLEET_SLACK_MS = 1000;

export interface ManifestPartsOptions {
  readonly settings: Settings;
  readonly metrics: Metrics;
  readonly store: ManifestStore;
  readonly links: ContentLinks;
  readonly access: RepositoryAccess;
  /** Undefined: there is no fleet. */
  readonly lock: FleetLock | undefined;
  readonly pins: Pins;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** What asks upstream for manifests and tags. */
export interface ManifestParts {
  readonly negative: NegativeCache;
  readonly fetcher: ManifestFetcher;
  readonly heads: ManifestHeads;
  readonly freshness: TagFreshness;
  readonly watch: TagWatch;
  readonly fleet: FleetFlight;
}

export function createManifestParts(options: ManifestPartsOptions): ManifestParts {
  const { settings, metrics, store, links, access, lock, pins, now } = options;
  const negative = new NegativeCache(settings.negativeTtlMs);
  const fleet = new FleetFlight({
    lock,
    maxWaitMs: settings.headersTimeoutMs + FLEET_SLACK_MS,
    onEnd: (end) => metrics.fleetWork(end),
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
    onChecked: (result, trigger) => metrics.tagChecked(result, trigger),
  });
  const freshness = new TagFreshness({ store, checker, ttls, now });
  const watch = new TagWatch({
    store,
    checker,
    ttls,
    maxPerMinute: settings.offline ? 0 : settings.backgroundChecks,
    mayCheck: (upstream) => upstream.isReachable(),
    onSkipped: (reason) => metrics.tagCheckSkipped(reason),
    now,
  });
  return { negative, fetcher, heads, freshness, watch, fleet };
}
