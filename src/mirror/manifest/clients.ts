import { LRUCache } from 'lru-cache';
import { atMost, keptFor } from '../../lib/caches.ts';
import { orderFor } from '../../oci/platform-order.ts';
import { parsePlatform, type Platform, normalizePlatform, platformName } from '../../oci/platform.ts';
import type { PullClient } from '../answer/answers.ts';

/**
 * The platform that a Docker Engine or CRI-O states in its User-Agent (`… os/linux arch/arm64 …`), or undefined.
 * What stands in `UpstreamClient(…)` is the command line program's, which may run on another machine than the
 * engine, and is not looked at (moby, dockerversion/useragent.go; CRI-O, server/useragent).
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

/** What tells the platform of a client. */
export type PlatformSource = 'query' | 'rule' | 'user-agent' | 'default';

export interface ClientPlatform {
  readonly platform: Platform;
  readonly by: PlatformSource;
}

const MAX_CLIENTS = 10_000;
/** An address may be another machine's tomorrow. */
const SEEN_TTL_MS = 24 * 60 * 60_000;
const MAX_USER_AGENTS = 1000;

/**
 * Which platform a client is: by what its request says, by its network, by its User-Agent, by default. Most clients
 * state none and take the list; what they then ask for shows it, but several can share an address, so that is good for
 * a guess at what they will ask for next and never decides an answer.
 */
export class ClientPlatforms {
  readonly #default: Platform;
  /** What the clients of an address were seen to run; undefined once they took what no machine runs both of. */
  readonly #seen = new LRUCache<string, { readonly platform: Platform | undefined }>({
    ...atMost(MAX_CLIENTS),
    ...keptFor(SEEN_TTL_MS),
  });
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
   * What it will most likely ask for; undefined if that would be a mere guess. A User-Agent tells the processor, not which
   * variant of it, and not that images are pulled for other machines (`docker pull --platform`): what was taken before
   * shows that.
   */
  expected(client: PullClient): Platform | undefined {
    const stated = this.#stated(client);
    const seen = this.#seen.get(client.address)?.platform;
    if (stated?.by !== 'user-agent' || seen === undefined) return stated?.platform ?? seen;
    if (isVariantOf(seen, stated.platform)) return seen;
    return orderFor(stated.platform).matches(seen) ? stated.platform : undefined;
  }

  /** It asked for the manifest of a platform by digest, after it was given the list. */
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
    const told = this.#told.memo(userAgent).platform;
    return told === undefined ? undefined : { platform: told, by: 'user-agent' };
  }
}

/** Indexes spell a platform in several ways, and an image for an older processor is taken where there is no other. */
function runsBoth(a: Platform, b: Platform): Platform | undefined {
  if (platformName(a) === platformName(b) || orderFor(a).matches(b)) return a;
  return orderFor(b).matches(a) ? b : undefined;
}

function isVariantOf(platform: Platform, general: Platform): boolean {
  const { os, architecture } = normalizePlatform(platform);
  return os === general.os && architecture === general.architecture;
}
