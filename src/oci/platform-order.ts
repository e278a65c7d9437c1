import { platformsThatRunOn } from './platform-fallbacks.ts';
import { normalizePlatform, type Platform } from './platform.ts';
import { windowsVersionRuns } from './windows-version.ts';

/** Which platforms fit, and which of two fits better (containerd/platforms, MatchComparer). */
export interface PlatformOrder {
  matches(platform: Platform): boolean;
  /** Negative if `a` goes before `b`, positive if after, 0 if neither: then they stay in the order of their index. */
  compare(a: Platform, b: Platform): number;
}

/** What a machine of platform `wanted` takes: as containerd's `Default` on a Windows that tells its version, else `Only`. */
export function orderFor(wanted: Platform): PlatformOrder {
  const { os, osVersion } = normalizePlatform(wanted);
  return os === 'windows' && osVersion !== undefined
    ? new WindowsHostOrder(wanted)
    : new ListedOrder(platformsThatRunOn(wanted));
}

/** Any of some platforms, the first one best, and of equals the one with more features of the system (`Ordered`). */
export class ListedOrder implements PlatformOrder {
  readonly #listed: readonly PlatformTest[];
  /** Sorting asks again and again, and an index may have thousands of entries. */
  readonly #places = new WeakMap<Platform, number>();

  constructor(platforms: readonly Platform[]) {
    this.#listed = platforms.map((platform) => new PlatformTest(platform));
  }

  matches(platform: Platform): boolean {
    return this.#place(platform) < this.#listed.length;
  }

  compare(a: Platform, b: Platform): number {
    const [first, second] = [this.#place(a), this.#place(b)];
    if (first !== second) return first - second;
    return first < this.#listed.length ? featureCount(b) - featureCount(a) : 0;
  }

  #place(platform: Platform): number {
    const known = this.#places.get(platform);
    if (known !== undefined) return known;
    const place = this.#find(normalizePlatform(platform));
    this.#places.set(platform, place);
    return place;
  }

  /** Behind all listed ones for what does not match; there, what would match but for its features goes first. */
  #find(normalized: Platform): number {
    const end = this.#listed.length;
    const place = this.#listed.findIndex((test) => test.matches(normalized));
    if (place >= 0) return place;
    if (featureCount(normalized) === 0) return 2 * end;
    return end + this.#find({ ...normalized, osFeatures: [] });
  }
}

/** On Windows the newest version that runs goes first, by the text of its version (`windowsMatchComparer`). */
class WindowsHostOrder implements PlatformOrder {
  readonly #host: PlatformTest;

  constructor(host: Platform) {
    this.#host = new PlatformTest(host);
  }

  matches(platform: Platform): boolean {
    return this.#host.matches(normalizePlatform(platform));
  }

  compare(a: Platform, b: Platform): number {
    const [first, second] = [this.matches(a), this.matches(b)];
    if (!first || !second) return Number(second) - Number(first);
    const [versionA, versionB] = [a.osVersion ?? '', b.osVersion ?? ''];
    return versionA === versionB ? 0 : versionA > versionB ? -1 : 1;
  }
}

/** Whether an image of one platform is an image for another (`NewMatcher`). */
class PlatformTest {
  readonly #own: Platform;
  readonly #features: ReadonlySet<string>;

  constructor(platform: Platform) {
    this.#own = normalizePlatform(platform);
    this.#features = new Set(this.#own.osFeatures);
  }

  matches(normalized: Platform): boolean {
    const { os, architecture, variant, osVersion } = this.#own;
    // containerd takes a missing system for that of the machine it runs on, which is the one that is asked for.
    const isAlike =
      (normalized.os === '' || normalized.os === os) &&
      normalized.architecture === architecture &&
      normalized.variant === variant &&
      (os !== 'windows' || windowsVersionRuns(osVersion, normalized.osVersion));
    return isAlike && this.#neededFeatures(normalized).every((feature) => this.#features.has(feature));
  }

  /** `win32k`, the graphical part of Windows, has never been looked at. */
  #neededFeatures({ osFeatures = [] }: Platform): readonly string[] {
    return this.#own.os === 'windows' ? osFeatures.filter((feature) => feature !== 'win32k') : osFeatures;
  }
}

function featureCount({ osFeatures = [] }: Platform): number {
  return osFeatures.length;
}

const NO_PLATFORM = 'unknown';

/**
 * The entries of an index that a machine of platform `wanted` can run, best first, equals in the order of the index
 * (OCI image-index.md); those that state no platform last, those whose platform is unknown never: BuildKit's
 * attestations are marked so (containerd, images.Manifest).
 */
export function fittingEntries<E extends { readonly platform?: Platform }>(
  wanted: Platform,
  entries: readonly E[],
): E[] {
  const order = orderFor(wanted);
  const fitting = entries.flatMap((entry) => {
    const { platform } = entry;
    if (platform === undefined || isUnknown(platform) || !order.matches(platform)) return [];
    return [{ entry, platform }];
  });
  fitting.sort((a, b) => order.compare(a.platform, b.platform));
  return [...fitting.map(({ entry }) => entry), ...entries.filter(({ platform }) => platform === undefined)];
}

/** Whether it is marked as being for no machine. */
export function isUnknown({ os, architecture }: Platform): boolean {
  return os === NO_PLATFORM || architecture === NO_PLATFORM;
}
