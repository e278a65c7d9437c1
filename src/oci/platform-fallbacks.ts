import { normalizePlatform, type Platform } from './platform.ts';

/** What runs on the highest version of each: v9.x is v8.(x+5), for as far as there is one. */
const MAX_ARM64_V8_MINOR = 9;
const MAX_ARM64_V9_MINOR = 7;
/** Nobody has more: a higher number is not to be counted down from. */
const MAX_VERSION = 99;

/**
 * The platforms whose images run on a machine of platform `wanted`, best first: older variants of its processor, then
 * the 32-bit one that it can also be. Empty for an arm64 that nobody knows (containerd/platforms, platformVector).
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
