/** A platform as image indexes spell it (OCI image-spec, image-index.md "platform"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
  readonly osFeatures?: readonly string[];
}

const PART = /^[A-Za-z0-9_.-]{1,64}$/;

/** The platform that `os/architecture[/variant]` spells, normalised, or undefined if it is not of that form. */
export function parsePlatform(text: string): Platform | undefined {
  const parts = text.split('/');
  const [os, architecture, variant] = parts;
  if (os === undefined || architecture === undefined || parts.length > 3) return undefined;
  if (!parts.every((part) => PART.test(part))) return undefined;
  return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

/** `os/architecture[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Aliases and default variants made one, as containerd/platforms v1.0.0-rc.4 does (database.go). */
export function normalizePlatform(platform: Platform): Platform {
  const lowerOs = platform.os.toLowerCase();
  const [architecture, variant] = normalizeArchitecture(
    platform.architecture.toLowerCase(),
    platform.variant?.toLowerCase() ?? '',
  );
  return {
    os: lowerOs === 'macos' ? 'darwin' : lowerOs,
    architecture,
    ...(variant === '' ? {} : { variant }),
    ...(platform.osVersion === undefined ? {} : { osVersion: platform.osVersion }),
    ...(platform.osFeatures === undefined ? {} : { osFeatures: platform.osFeatures }),
  };
}

function normalizeArchitecture(
  architecture: string,
  variant: string,
): [architecture: string, variant: string] {
  switch (architecture) {
    case 'i386':
      return ['386', ''];
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return ['amd64', variant === 'v1' ? '' : variant];
    case 'aarch64':
    case 'arm64':
      if (variant === '8' || variant === 'v8' || variant === 'v8.0') return ['arm64', ''];
      return ['arm64', variant === '9' || variant === '9.0' || variant === 'v9.0' ? 'v9' : variant];
    case 'armhf':
      return ['arm', 'v7'];
    case 'armel':
      return ['arm', 'v6'];
    case 'arm':
      if (variant === '' || variant === '7') return ['arm', 'v7'];
      return ['arm', /^[568]$/.test(variant) ? `v${variant}` : variant];
    default:
      return [architecture, variant];
  }
}

/**
 * The platforms whose images run on `wanted`, best first, as containerd's `platforms.Only` orders them: older
 * variants of the same processor, then the 32-bit one it can also run.
 */
export function compatiblePlatforms(wanted: Platform): Platform[] {
  const { os, architecture, variant = '' } = normalizePlatform(wanted);
  const like = (arch: string, variants: readonly string[]): Platform[] =>
    variants.map((name) => ({ os, architecture: arch, ...(name === '' ? {} : { variant: name }) }));
  switch (architecture) {
    case 'amd64': {
      const level = /^v(\d+)$/.exec(variant);
      const levels = level === null ? [variant] : descending(Number(level[1]), 2).map((n) => `v${n}`);
      return [...like('amd64', level === null ? levels : [...levels, '']), ...like('386', [''])];
    }
    case 'arm':
      return like('arm', armVariants(variant));
    case 'arm64': {
      const own = arm64Variants(variant);
      return own.length === 0 ? [] : [...like('arm64', own), ...like('arm', armVariants('v8'))];
    }
    default:
      return like(architecture, [variant]);
  }
}

function armVariants(variant: string): string[] {
  const version = /^v(\d+)$/.exec(variant);
  if (version === null || Number(version[1]) <= 5) return [variant];
  return descending(Number(version[1]), 5).map((n) => `v${n}`);
}

/** arm64 v9.x implies v8.(x+5), capped at v8.9; v8 itself is spelled without a variant. Unknown ones match nothing. */
function arm64Variants(variant: string): string[] {
  if (variant === '') return [''];
  const match = /^v([89])(?:\.(\d))?$/.exec(variant);
  if (match === null) return [];
  const minor = Number(match[2] ?? 0);
  const v8 = (top: number): string[] =>
    descending(Math.min(top, 9), 0).map((n) => (n === 0 ? '' : `v8.${n}`));
  if (match[1] === '8') return v8(minor);
  if (minor > 7) return [];
  return [...descending(minor, 0).map((n) => (n === 0 ? 'v9' : `v9.${n}`)), ...v8(minor + 5)];
}

function descending(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, from - to + 1) }, (_, index) => from - index);
}

/**
 * The entry of an index that a machine of platform `wanted` runs: the best compatible one, the first of equals
 * (OCI image-index.md); an entry that states no platform only when none matches. Undefined if there is none.
 */
export function bestMatch<E extends { readonly platform?: Platform }>(
  wanted: Platform,
  entries: readonly E[],
): E | undefined {
  for (const candidate of compatiblePlatforms(wanted)) {
    const match = entries.find((entry) => entry.platform !== undefined && isSame(candidate, entry.platform));
    if (match !== undefined) return match;
  }
  return entries.find((entry) => entry.platform === undefined);
}

function isSame(wanted: Platform, stated: Platform): boolean {
  const platform = normalizePlatform(stated);
  return (
    platform.os === wanted.os &&
    platform.architecture === wanted.architecture &&
    (platform.variant ?? '') === (wanted.variant ?? '')
  );
}
