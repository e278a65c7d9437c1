import { LRUCache } from 'lru-cache';
import { atMost } from '../lib/lru-options.ts';
import type { Settings } from '../config/settings.ts';
import { networkAround, networkOverlap } from '../lib/network.ts';
import { parsePlatform, type Platform } from '../oci/platform.ts';
import type { ImageResolverOptions } from '../pull/image-resolver.ts';

/** The clients that the settings tell of: the platforms of all, else the default, and those of networks. */
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

/** The platforms of those clients. */
export function knownPlatforms(settings: Settings): Platform[] {
  return knownClients(settings).map(({ platform }) => platform);
}

/** Clients come back. */
const MAX_REMEMBERED = 10_000;

/** The network that an address counts as: that of the first rule for clients that fits, else the one around it. */
export function clientNetworks({ clients }: Settings): (address: string) => string {
  const rules = clients.map(({ network }) => ({ network, holds: networkOverlap(network) }));
  const known = new LRUCache<string, string>({
    ...atMost(MAX_REMEMBERED),
    memoMethod: (address) => {
      const around = networkAround(address);
      if (around === undefined) return '';
      const own = `${address}/${address.includes(':') ? 128 : 32}`;
      return rules.find(({ holds }) => holds(own))?.network ?? around;
    },
  });
  return (address) => known.memo(address);
}
