import type { Settings } from '../config/settings.ts';
import { systemClock } from '../lib/clock.ts';
import type { Undo } from '../lib/undo.ts';
import type { Logger } from '../log/log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { ContentCare } from '../pull/content-care.ts';
import { ContentRepair } from '../pull/content-repair.ts';
import { ImageOperations } from '../pull/image-operations.ts';
import { ImageResolver } from '../pull/image-resolver.ts';
import { ImageWarmer } from '../pull/image-warmer.ts';
import type { Operations } from '../pull/operations.ts';
import { TagRefresh } from '../pull/tag-refresh.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { knownClients } from './known-clients.ts';
import type { Pulls } from './pulls.ts';
import { findingReporter } from './reports.ts';
import type { Storage } from './storage.ts';

export interface OperationsOptions {
  readonly settings: Settings;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly storage: Storage;
  readonly pulls: Pulls;
}

/** What commands can have done, and the care for content that `verify` shares with the idle server. */
export function createOperations(
  options: OperationsOptions,
  undo: Undo,
): { readonly operations: Operations; readonly care: ContentCare } {
  const { settings, log, metrics, upstreams, storage, pulls } = options;
  const { index, blobs, audit, space } = storage;
  const { fetcher, freshness, negative, scope, blobPuller } = pulls;
  const store = storage.manifests;
  const care = new ContentCare({
    audit,
    manifests: index,
    bookmarks: index,
    blobs,
    repair: new ContentRepair({
      catalogue: index,
      store: index,
      upstreams,
      fetcher,
      scope,
      blobs: blobPuller,
    }),
    clock: systemClock,
    onScrubbed: (bytes) => metrics.scrubbed(bytes),
    onFinding: findingReporter(log, metrics),
    onError: (error) => log.error({ err: error }, 'scrub'),
  });
  undo.push(() => care.close());
  const images = new ImageOperations(space.images);
  const refresh = new TagRefresh({ store, upstreams, freshness, negative, scope });
  const resolver = new ImageResolver({
    upstreams,
    manifests: pulls.manifests,
    fetcher,
    store,
    blobs,
    clients: knownClients(settings),
  });
  const warmer = new ImageWarmer({
    upstreams,
    manifests: pulls.manifests,
    store,
    blobs,
    puller: blobPuller,
    referrers: pulls.referrers,
    platforms: knownClients(settings).map(({ platform }) => platform),
    maxFills: settings.fills,
  });
  const operations: Operations = {
    verify: (request, run) => care.verify(request, run),
    resolve: (request, { signal }) => resolver.resolve(request, signal),
    pin: (request) => images.pin(request),
    unpin: (request) => images.unpin(request),
    remove: (request) => images.remove(request),
    refresh: (request) => refresh.run(request),
    warm: (request, run) => warmer.run(request, run),
    flush: async () => {
      await storage.history.flush();
      return {};
    },
  };
  return { operations, care };
}
