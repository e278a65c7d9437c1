import { readFile } from 'node:fs/promises';
import { systemClock } from '../lib/clock.ts';
import { repositoryKey } from '../oci/reference.ts';
import { BundleImport } from '../operations/bundle/import.ts';
import { BundlePublisher } from '../operations/bundle/publish.ts';
import { ImageOperations } from '../operations/images/images.ts';
import { ManifestLook } from '../operations/images/look.ts';
import { TagRefresh } from '../operations/images/refresh.ts';
import { ImageResolver } from '../operations/images/resolve.ts';
import type { Operations } from '../operations/protocol.ts';
import { ContentRepair } from '../operations/verify/repair.ts';
import { ScrubSchedule } from '../operations/verify/schedule.ts';
import { ImageWarmer } from '../operations/warm/warm.ts';
import { knownClients, knownPlatforms } from './after-pulls.ts';
import type { Cleanup } from './cleanup.ts';
import type { Pulls, PullsOptions } from './mirror.ts';

interface OperationsOptions extends Pick<
  PullsOptions,
  'settings' | 'tell' | 'upstreams' | 'storage' | 'now'
> {
  readonly pulls: Pulls;
}

/** The operations for commands, and the schedule of verify and scrub. */
export function createOperations(
  options: OperationsOptions,
  cleanup: Cleanup,
): { readonly operations: Operations; readonly care: ScrubSchedule } {
  const { settings, tell, upstreams, storage, pulls } = options;
  const { index, blobs, audit } = storage;
  const { fetcher, freshness, negative, scope, blobPuller } = pulls;
  const store = storage.manifests;
  const care = new ScrubSchedule({
    audit,
    manifests: index,
    bookmarks: index,
    blobs,
    repair: new ContentRepair({
      catalog: index,
      store: index,
      upstreams,
      fetcher,
      scope,
      blobs: blobPuller,
    }),
    clock: systemClock,
    tell,
  });
  cleanup.pushWork(() => care.close());
  const images = new ImageOperations(storage.images);
  const refresh = new TagRefresh({ store, upstreams, freshness, negative, scope });
  const resolver = new ImageResolver({
    upstreams,
    manifests: pulls.manifests,
    look: new ManifestLook({ store, access: pulls.access, links: storage.links, freshness }),
    fetcher,
    store,
    blobs,
    clients: knownClients(settings),
    namedBefore: (repository, tag) => index.tables.tags.before([repositoryKey(repository), tag]),
  });
  const warmer = new ImageWarmer({
    upstreams,
    manifests: pulls.manifests,
    store,
    blobs,
    puller: blobPuller,
    referrers: pulls.referrers,
    platforms: knownPlatforms(settings),
    maxFills: settings.fills,
  });
  const bundles = createImport(options);
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
    import: (request, run, bytes) => bundles.run(request, run, bytes),
  };
  return { operations, care };
}

function createImport(options: OperationsOptions): BundleImport {
  const { settings, tell, upstreams, storage, pulls, now } = options;
  const { manifests: store, index, blobs, space } = storage;
  const { access, negative, referrers } = pulls;
  const { importVerify: keyFile } = settings;
  return new BundleImport({
    blobs,
    images: storage.images,
    publisher: new BundlePublisher({
      store,
      durable: index,
      access,
      negative,
      referrers,
      usage: space.usage,
      now,
    }),
    hold: (digest) => space.leases.hold(digest),
    makeRoom: async (bytes) => (await space.room.reserve(bytes)).release(),
    pins: settings.importPins,
    requiredKey: async () => (keyFile === undefined ? undefined : readFile(keyFile, 'utf8')),
    isServed: (host) => upstreams.has(host),
    tell,
  });
}
