import { LRUCache } from 'lru-cache';
import { normalizePlatform, platformName, type Platform } from '../oci/platform.ts';
import { platformOfUserAgent } from '../oci/user-agent.ts';
import type { PullClient } from './pull-client.ts';

/** What tells the platform of a client. */
export type PlatformSource = 'query' | 'rule' | 'user-agent' | 'default';

export interface ClientPlatform {
  readonly platform: Platform;
  readonly by: PlatformSource;
}

const MAX_CLIENTS = 10_000;
const MAX_USER_AGENTS = 1000;

/**
 * Which platform a client is: by what its request says, by its network, by its User-Agent, by default. Most clients
 * state none and take the list; what they then ask for shows it, but several can share an address, so that is good for
 * a guess at what they will ask for next and never decides an answer.
 */
export class ClientPlatforms {
  readonly #default: Platform;
  /** What the clients of an address were seen to take; undefined once they took different ones. */
  readonly #seen = new LRUCache<string, { readonly platform: Platform | undefined }>({ max: MAX_CLIENTS });
  /** A fleet sends few User-Agents, and each of them with every request. */
  readonly #told = new LRUCache<string, { readonly platform: Platform | undefined }>({
    max: MAX_USER_AGENTS,
    memoMethod: (userAgent) => ({ platform: platformOfUserAgent(userAgent) }),
  });

  constructor(defaultPlatform: Platform) {
    this.#default = defaultPlatform;
  }

  of(client: PullClient): ClientPlatform {
    return this.#stated(client) ?? { platform: this.#default, by: 'default' };
  }

  /**
   * What it will most likely ask for; undefined if that would be a mere guess. A User-Agent tells the processor and not
   * which variant of it: what such a client took before shows that.
   */
  expected(client: PullClient): Platform | undefined {
    const stated = this.#stated(client);
    const seen = this.#seen.get(client.address)?.platform;
    if (stated?.by === 'user-agent' && seen !== undefined && isVariantOf(seen, stated.platform)) return seen;
    return stated?.platform ?? seen;
  }

  /** It asked for the manifest of a platform by digest, after it was given the list. */
  saw(address: string, platform: Platform): void {
    const before = this.#seen.get(address);
    const isOther =
      before !== undefined &&
      (before.platform === undefined || platformName(before.platform) !== platformName(platform));
    this.#seen.set(address, { platform: isOther ? undefined : platform });
  }

  #stated({ platform, rule, userAgent }: PullClient): ClientPlatform | undefined {
    if (platform !== undefined) return { platform, by: 'query' };
    if (rule?.platform !== undefined) return { platform: rule.platform, by: 'rule' };
    if (userAgent === undefined) return undefined;
    const told = this.#told.memo(userAgent).platform;
    return told === undefined ? undefined : { platform: told, by: 'user-agent' };
  }
}

function isVariantOf(platform: Platform, general: Platform): boolean {
  const { os, architecture } = normalizePlatform(platform);
  return os === general.os && architecture === general.architecture;
}
