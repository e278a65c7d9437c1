import { normalizePlatform, type Platform } from './platform.ts';

/** The highest minor versions of arm64. v9.x runs images of v8.(x+5), as far as that exists. */
const MAX_ARM64_V8_MINOR = 9;
const MAX_ARM64_V9_MINOR = 7;
/** No processor has a higher version. Without the limit, a huge number would be counted down to 1. */
const MAX_VERSION = 99;

/**
 * The platforms whose images run on a machine of platform `wanted`, best first: older variants of its processor, then
 * the 32-bit processor that it can also be. Empty for an unknown arm64 variant (containerd/platforms,
 * platformVector).
 */
export function platformsThatRunOn(wanted: Platform): Platform[] {
  const { architecture, variant = '', ...system } = normalizePlatform(wanted);
  const like = (name: string, variants: readonly string[]): Platform[] =>
    variants.map((each) =>
      normalizePlatform({ ...system, architecture: name, ...(each === '' ? {} : { variant: each }) }),
    );
  switch (architecture) {
    case 'amd64':
      return [...like('amd64', amd64Levels(variant)), ...like('386', [''])];
    case 'arm':
      return like('arm', armVersions(variant));
    case 'arm64': {
      const own = arm64Versions(variant);
      return own.length === 0 ? [] : [...like('arm64', own), ...like('arm', armVersions('v8'))];
    }
    default:
      return like(architecture, [variant]);
  }
}

function amd64Levels(variant: string): string[] {
  const level = versionOf(variant);
  if (level === undefined) return [variant];
  return [variant, ...descending(level - 1, 1).map((each) => `v${each}`)];
}

function armVersions(variant: string): string[] {
  const version = versionOf(variant);
  if (version === undefined) return [variant];
  return [variant, ...descending(version - 1, 5).map((each) => `v${each}`)];
}

function arm64Versions(variant: string): string[] {
  const match = /^v([89])(?:\.(\d))?$/.exec(variant === '' ? 'v8' : variant);
  if (match === null) return [];
  const minor = Number(match[2] ?? 0);
  if (match[1] === '8') return minors(8, minor);
  if (minor > MAX_ARM64_V9_MINOR) return [];
  return [...minors(9, minor), ...minors(8, Math.min(minor + 5, MAX_ARM64_V8_MINOR))];
}

function minors(major: number, from: number): string[] {
  return descending(from, 0).map((minor) => (minor === 0 ? `v${major}` : `v${major}.${minor}`));
}

function versionOf(variant: string): number | undefined {
  const version = Number(/^v?(\d{1,9})$/.exec(variant)?.[1] ?? Number.NaN);
  return version <= MAX_VERSION ? version : undefined;
}

/** Empty if `from` is less than `to`. */
function descending(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, from - to + 1) }, (_, index) => from - index);
}

/** The first three numbers of an `os.version` such as `10.0.20348.2966`. */
interface WindowsVersion {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

/**
 * From Windows Server 2022 on, a host runs containers of its own build and older ones, down to the previous long-term
 * release.
 */
const LTSC_2022_BUILD = 20_348;
const LTSC_BUILDS: readonly number[] = [LTSC_2022_BUILD, 26_100];

/**
 * Whether a Windows host of one `os.version` runs images of another. A missing version matches any
 * (containerd/platforms v1.0.0-rc.4, platform_windows_compat.go; Microsoft, "Windows container version
 * compatibility").
 */
export function windowsVersionRuns(host: string | undefined, image: string | undefined): boolean {
  const own = parseWindowsVersion(host ?? '');
  if (isEmpty(own) || image === undefined || image === '') return true;
  const other = parseWindowsVersion(image);
  if (own.major !== other.major || own.minor !== other.minor) return false;
  if (own.build < LTSC_2022_BUILD) return own.build === other.build;
  const oldest = LTSC_BUILDS.findLast((build) => own.build > build) ?? LTSC_2022_BUILD;
  return oldest <= other.build && other.build <= own.build;
}

/** All zero if `text` is not a version. */
function parseWindowsVersion(text: string): WindowsVersion {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,5})(?:\.|$)/.exec(text);
  const [major = 0, minor = 0, build = 0] = (match ?? []).slice(1).map(Number);
  // Windows stores these numbers in 8, 8 and 16 bits.
  if (major > 255 || minor > 255 || build > 65_535) return { major: 0, minor: 0, build: 0 };
  return { major, minor, build };
}

function isEmpty({ major, minor, build }: WindowsVersion): boolean {
  return major === 0 && minor === 0 && build === 0;
}

/** Which platforms match, and which of two matches better (containerd/platforms, MatchComparer). */
export interface PlatformOrder {
  matches(platform: Platform): boolean;
  /** Negative if `a` goes before `b`, positive if after. 0: they keep the order of their index. */
  compare(a: Platform, b: Platform): number;
}

/**
 * The order for a machine of platform `wanted`: containerd's `Default` for a Windows host with a version, else its
 * `Only`.
 */
export function orderFor(wanted: Platform): PlatformOrder {
  const { os, osVersion } = normalizePlatform(wanted);
  return os === 'windows' && osVersion !== undefined
    ? new WindowsHostOrder(wanted)
    : new ListedOrder(platformsThatRunOn(wanted));
}

/**
 * Matches any of some platforms, the first one best. Of equals, the one with more `os.features` is better
 * (`Ordered`).
 */
export class ListedOrder implements PlatformOrder {
  readonly #listed: readonly PlatformTest[];
  /** A cache for sorting: an index may have thousands of entries. */
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

  /**
   * A platform that does not match goes behind all listed ones; of these, one that misses only features goes first.
   */
  #find(normalized: Platform): number {
    const end = this.#listed.length;
    const place = this.#listed.findIndex((test) => test.matches(normalized));
    if (place >= 0) return place;
    if (featureCount(normalized) === 0) return 2 * end;
    return end + this.#find({ ...normalized, osFeatures: [] });
  }
}

/** Orders by the text of the Windows version: the newest that runs goes first (`windowsMatchComparer`). */
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

/** Tests whether an image of one platform fits another platform (`NewMatcher`). */
class PlatformTest {
  readonly #own: Platform;
  readonly #features: ReadonlySet<string>;

  constructor(platform: Platform) {
    this.#own = normalizePlatform(platform);
    this.#features = new Set(this.#own.osFeatures);
  }

  matches(normalized: Platform): boolean {
    const { os, architecture, variant, osVersion } = this.#own;
    // containerd replaces a missing OS by that of its own machine, which is the wanted one.
    const isAlike =
      (normalized.os === '' || normalized.os === os) &&
      normalized.architecture === architecture &&
      normalized.variant === variant &&
      (os !== 'windows' || windowsVersionRuns(osVersion, normalized.osVersion));
    return isAlike && this.#neededFeatures(normalized).every((feature) => this.#features.has(feature));
  }

  /** containerd ignores `win32k`, the graphical part of Windows. */
  #neededFeatures({ osFeatures = [] }: Platform): readonly string[] {
    return this.#own.os === 'windows' ? osFeatures.filter((feature) => feature !== 'win32k') : osFeatures;
  }
}

function featureCount({ osFeatures = [] }: Platform): number {
  return osFeatures.length;
}

const NO_PLATFORM = 'unknown';

/**
 * The entries of an index that a machine of platform `wanted` can run, best first; equals keep the order of the index
 * (OCI image-index.md). Entries without a platform come last. Entries with an unknown platform are left out: these
 * are BuildKit's attestations (containerd, images.Manifest).
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

/** True if the platform is marked as being for no machine. */
export function isUnknown({ os, architecture }: Platform): boolean {
  return os === NO_PLATFORM || architecture === NO_PLATFORM;
}
