import { LRUCache } from 'lru-cache';
import { atMost, keptFor, recentOf } from '../../lib/caches.ts';
import { orderFor } from '../../oci/platform-order.ts';
import { parsePlatform, type Platform, normalizePlatform, platformName } from '../../oci/platform.ts';
import type { PullClient } from '../answer/answers.ts';

/**
 * The platform that a Docker Engine or CRI-O states in its User-Agent (`… os/linux arch/arm64 …`), or undefined.
 * `UpstreamClient(…)` is ignored: it belongs to the command line program, which may run on another machine than the
 * engine (moby, dockerversion/useragent.go; CRI-O, server/useragent).
 */
export function platformOfUserAgent(userAgent: string | undefined): Platform | undefined {
  if (userAgent === undefined) return undefined;
  const upstreamClient = userAgent.indexOf('UpstreamClient(');
  const own = upstreamClient < 0 ? userAgent : userAgent.slice(0, upstreamClient);
  const tokens = own.split(' ');
  const os = valueOf(tokens, 'os/');
  const architecture = valueOf(tokens, 'arch/');
  return os === undefined || architecture === undefined ? undefined : parsePlatform(`${os}/${architecture}`);
}

function valueOf(tokens: readonly string[], prefix: string): string | undefined {
  return tokens.find((token) => token.startsWith(prefix))?.slice(prefix.length);
}

export type PlatformSource = 'query' | 'rule' | 'user-agent' | 'default';

export interface ClientPlatform {
  readonly platform: Platform;
  readonly by: PlatformSource;
}

const MAX_CLIENTS = 10_000;
/** Another machine may get the address. */
const SEEN_TTL_MS = 24 * 60 * 60_000;
const MAX_USER_AGENTS = 1000;

/**
 * The platform of a client: from its request, its network, its User-Agent, or the default. Most clients state none and
 * accept an index; their choice from the index then shows it. But several clients can share an address, so this serves
 * prefetch only and never decides an answer.
 */
export class ClientPlatforms {
  readonly #default: Platform;
  /** The platform that an address chose; undefined once it chose two that no machine can run both of. */
  readonly #seen = new LRUCache<string, { readonly platform: Platform | undefined }>({
    ...atMost(MAX_CLIENTS),
    ...keptFor(SEEN_TTL_MS),
  });
  /** Many clients send the same few User-Agents with every request. */
  readonly #byUserAgent = recentOf(MAX_USER_AGENTS, (userAgent) => ({
    platform: platformOfUserAgent(userAgent),
  }));

  constructor(defaultPlatform: Platform) {
    this.#default = defaultPlatform;
  }

  of(client: PullClient): ClientPlatform {
    return this.#stated(client) ?? { platform: this.#default, by: 'default' };
  }

  /**
   * The platform that the client will most likely ask for; undefined if unknown. A User-Agent names the processor only:
   * not its variant, nor another platform that the client pulls for (`docker pull --platform`). Earlier choices of its
   * address show these.
   */
  expected(client: PullClient): Platform | undefined {
    const stated = this.#stated(client);
    const seen = this.#seen.get(client.address)?.platform;
    if (stated?.by !== 'user-agent' || seen === undefined) return stated?.platform ?? seen;
    if (isVariantOf(seen, stated.platform)) return seen;
    return orderFor(stated.platform).matches(seen) ? stated.platform : undefined;
  }

  /** The address asked by digest for the manifest of a platform, after it got the index. */
  saw(address: string, platform: Platform): void {
    const before = this.#seen.get(address);
    if (before === undefined) this.#seen.set(address, { platform });
    else if (before.platform !== undefined && before.platform !== platform) {
      this.#seen.set(address, { platform: runsBoth(before.platform, platform) });
    }
  }

  #stated({ platform, rule, userAgent }: PullClient): ClientPlatform | undefined {
    if (platform !== undefined) return { platform, by: 'query' };
    if (rule?.platform !== undefined) return { platform: rule.platform, by: 'rule' };
    if (userAgent === undefined) return undefined;
    const parsed = this.#byUserAgent(userAgent).platform;
    return parsed === undefined ? undefined : { platform: parsed, by: 'user-agent' };
  }
}

/**
 * The platform of a machine that runs both. Indexes write a platform in several ways, and newer processors run older
 * images.
 */
function runsBoth(a: Platform, b: Platform): Platform | undefined {
  if (platformName(a) === platformName(b) || orderFor(a).matches(b)) return a;
  return orderFor(b).matches(a) ? b : undefined;
}

function isVariantOf(platform: Platform, general: Platform): boolean {
  const { os, architecture } = normalizePlatform(platform);
  return os === general.os && architecture === general.architecture;
}
