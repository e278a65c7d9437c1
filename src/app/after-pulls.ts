import type { Settings } from '../config/settings.ts';
import type { Tell } from '../events/events.ts';
import { recentOf } from '../lib/caches.ts';
import { networkAround, networkOverlap } from '../lib/networks.ts';
import { TurnEnd } from '../lib/turns.ts';
import { Prefetcher, type PrefetcherOptions } from '../mirror/after-pull/prefetch.ts';
import { PullRecorder } from '../mirror/after-pull/recorder.ts';
import { PullStatistics } from '../mirror/after-pull/statistics.ts';
import type { ServedManifest } from '../mirror/manifest/manifests.ts';
import type { MirrorOptions } from '../mirror/mirror.ts';
import { parsePlatform, type Platform } from '../oci/platform.ts';
import type { ImageResolverOptions } from '../operations/images/resolve.ts';
import type { PullHistory } from '../store/history.ts';

/** The platforms of the settings with their origin: `platforms`, else `defaultPlatform`, and those of `clients`. */
export function knownClients(settings: Settings): ImageResolverOptions['clients'] {
  const { platforms, defaultPlatform, clients } = settings;
  const general =
    platforms.length === 0
      ? [{ text: defaultPlatform, why: 'default' }]
      : platforms.map((text) => ({ text, why: 'platforms' }));
  const ofNetworks = clients.flatMap(({ network, platform: text }) =>
    text === undefined ? [] : [{ text, why: `clients of ${network}` }],
  );
  return [...general, ...ofNetworks].flatMap(({ text, why }) => {
    const platform = parsePlatform(text);
    return platform === undefined ? [] : [{ platform, why }];
  });
}

export function knownPlatforms(settings: Settings): Platform[] {
  return knownClients(settings).map(({ platform }) => platform);
}

/** Client addresses with a remembered network. */
const MAX_REMEMBERED = 10_000;

/** The network of a client address: that of the first `clients` rule that holds it, else the /24 (IPv6: /64) around it. */
function clientNetworks({ clients }: Settings): (address: string) => string {
  const rules = clients.map(({ network }) => ({ network, holds: networkOverlap(network) }));
  return recentOf(MAX_REMEMBERED, (address) => {
    const around = networkAround(address);
    if (around === undefined) return '';
    const own = `${address}/${address.includes(':') ? 128 : 32}`;
    return rules.find(({ holds }) => holds(own))?.network ?? around;
  });
}

interface FollowUpParts extends Pick<
  PrefetcherOptions,
  'store' | 'links' | 'fetcher' | 'negative' | 'entries' | 'clients' | 'blobs'
> {
  readonly settings: Settings;
  readonly tell: Tell;
  readonly history: PullHistory;
}

/** The work after an answer: prefetch, count the pull, record it. */
interface FollowUps {
  readonly manifestServed: MirrorOptions['onManifest'];
  /** Starts no prefetch any more, and waits a little for running ones. */
  close(): Promise<void>;
}

export function createFollowUps({ settings, history, ...parts }: FollowUpParts): FollowUps {
  const statistics = new PullStatistics(parts);
  const recorder = new PullRecorder({ ...parts, history, networkOf: clientNetworks(settings) });
  const prefetcher = new Prefetcher({
    ...parts,
    mode: settings.readAhead,
    platforms: settings.platforms.flatMap((text) => parsePlatform(text) ?? []),
    mayPrefetch: (upstream, repository) => upstream.mayPrefetch(repository),
  });
  const followUp = new TurnEnd<ServedManifest>((served) => {
    try {
      statistics.manifestServed(served);
      recorder.manifestServed(served);
      prefetcher.manifestServed(served);
    } catch (error) {
      parts.tell('fault', { where: 'after pull', error });
    }
  });
  return {
    manifestServed: (served) => followUp.add(served),
    close: () => prefetcher.close(),
  };
}
