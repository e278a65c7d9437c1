/*
 * Names of systems and processors, and their aliases: containerd/platforms v1.0.0-rc.4, database.go. containerd
 * replaces a missing OS by that of its own machine; here it stays missing.
 */

function normalizeOs(os: string): string {
  const lower = os.toLowerCase();
  return lower === 'macos' ? 'darwin' : lower;
}

/** `variant` is empty if it is the usual one of the processor; but arm has `v7`. */
function normalizeArchitecture(
  architecture: string,
  variant: string,
): { readonly architecture: string; readonly variant: string } {
  const name = architecture.toLowerCase();
  const version = variant.toLowerCase();
  switch (name) {
    case 'i386':
      return { architecture: '386', variant: '' };
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return { architecture: 'amd64', variant: version === 'v1' ? '' : version };
    case 'aarch64':
    case 'arm64':
      return { architecture: 'arm64', variant: ARM64_ALIASES.get(version) ?? version };
    case 'armhf':
      return { architecture: 'arm', variant: 'v7' };
    case 'armel':
      return { architecture: 'arm', variant: 'v6' };
    case 'arm':
      return { architecture: 'arm', variant: ARM_ALIASES.get(version) ?? version };
    default:
      return { architecture: name, variant: version };
  }
}

const ARM64_ALIASES: ReadonlyMap<string, string> = new Map([
  ['8', ''],
  ['v8', ''],
  ['v8.0', ''],
  ['9', 'v9'],
  ['9.0', 'v9'],
  ['v9.0', 'v9'],
]);

const ARM_ALIASES: ReadonlyMap<string, string> = new Map([
  ['', 'v7'],
  ['7', 'v7'],
  ['5', 'v5'],
  ['6', 'v6'],
  ['8', 'v8'],
]);

const SYSTEMS: ReadonlySet<string> = new Set(
  'aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris wasip1 windows zos'.split(
    ' ',
  ),
);

const ARCHITECTURES: ReadonlySet<string> = new Set(
  (
    '386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ' +
    'ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm'
  ).split(' '),
);

/** True if Go has the system or has reserved its name (go/build, syslist.go). Pass normalized names. */
export function isKnownSystem(os: string): boolean {
  return SYSTEMS.has(os);
}

export function isKnownArchitecture(architecture: string): boolean {
  return ARCHITECTURES.has(architecture);
}

/** A platform as image indexes spell it (OCI image-spec, image-index.md "platform"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
  readonly osFeatures?: readonly string[];
}

/** The form that `parsePlatform` reads, as the end of a sentence. */
export const PLATFORM_FORM =
  'os/architecture or os/architecture/variant, such as linux/arm64, linux/arm/v7 or windows(10.0.20348)/amd64';

const MAX_LENGTH = 256;
const PART = /^[A-Za-z0-9_.-]+$/;
const OPTION = /^[A-Za-z0-9_.%-]*$/;
const OS = /^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$/;

/**
 * The normalized platform of `os[(version+feature+…)]/architecture[/variant]`; undefined for other forms
 * (containerd/platforms v1.0.0-rc.4, Parse). containerd also reads a single word and completes it from its own
 * machine. A mirror's clients run on other machines, so both parts are required.
 */
export function parsePlatform(text: string): Platform | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const [first = '', architecture, variant, ...more] = text.split('/');
  if (architecture === undefined || more.length > 0) return undefined;
  if (!PART.test(architecture) || (variant !== undefined && !PART.test(variant))) return undefined;
  const os = parseOs(first);
  if (os === undefined) return undefined;
  const named = normalizeArchitecture(architecture, variant ?? '');
  return { ...os, architecture: named.architecture, ...present('variant', shown(named, variant)) };
}

/** A variant that was not named is left out if it is the usual one. A named `v8` of arm64 is kept. */
function shown(
  { architecture, variant }: { readonly architecture: string; readonly variant: string },
  stated: string | undefined,
): string {
  if (stated === undefined) return architecture === 'arm' && variant === 'v7' ? '' : variant;
  return architecture === 'arm64' && variant === '' ? 'v8' : variant;
}

function parseOs(text: string): Omit<Platform, 'architecture'> | undefined {
  const match = OS.exec(text);
  if (match === null) return undefined;
  const [, os = '', version = '', features = ''] = match;
  const osVersion = decodeOption(version);
  const osFeatures = features.split('+').slice(1).map(decodeOption);
  if (osVersion === undefined || !isComplete(osFeatures)) return undefined;
  return {
    os: normalizeOs(os),
    ...present('osVersion', osVersion),
    ...(osFeatures.length === 0 ? {} : { osFeatures }),
  };
}

/** Whether each item was read. */
export function isComplete<T>(items: readonly (T | undefined)[]): items is T[] {
  return !items.includes(undefined);
}

function present<K extends string>(key: K, value: string): { readonly [P in K]?: string } {
  return value === '' ? {} : ({ [key]: value } as { readonly [P in K]: string });
}

/** Undefined if the option could not be encoded again, as with control characters. */
function decodeOption(text: string): string | undefined {
  try {
    const option = decodeURIComponent(text);
    return OPTION.test(encodeOption(option)) ? option : undefined;
  } catch {
    return undefined;
  }
}

/** `os/architecture[/variant]`; without an os `unknown` (containerd/platforms, Format). */
export function platformName({ os, architecture, variant }: Platform): string {
  if (os === '') return 'unknown';
  return [os, architecture, variant].filter((part) => part !== undefined && part !== '').join('/');
}

/**
 * `platformName` with version and features of the system: `windows(10.0.20348)/amd64` (containerd/platforms,
 * FormatAll).
 */
export function formatPlatform(platform: Platform): string {
  const { os, osVersion = '', osFeatures = [] } = platform;
  const features = [...new Set(osFeatures)].filter((feature) => feature !== '').sort();
  const options = [osVersion, ...features].map(encodeOption).join('+');
  if (os === '' || options === '') return platformName(platform);
  return platformName({ ...platform, os: `${os}(${options})` });
}

const MAX_SHOWN_LENGTH = 80;

/** `formatPlatform` for messages and terminals: an index may hold any text as a platform. */
export function showPlatform(platform: Platform): string {
  return formatPlatform(platform)
    .replaceAll(/[^\x21-\x7e]/g, '?')
    .slice(0, MAX_SHOWN_LENGTH);
}

/** Escapes the characters that end an option or begin an escape. */
function encodeOption(text: string): string {
  return text.replaceAll(/[%+()/]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * Replaces aliases and default variants (containerd/platforms, Normalize): two spellings of a platform become equal.
 */
export function normalizePlatform(platform: Platform): Platform {
  const { osVersion = '', osFeatures = [] } = platform;
  const { architecture, variant } = normalizeArchitecture(platform.architecture, platform.variant ?? '');
  return {
    os: normalizeOs(platform.os),
    architecture,
    ...present('variant', variant),
    ...present('osVersion', osVersion),
    ...(osFeatures.length === 0 ? {} : { osFeatures: [...new Set(osFeatures)].sort() }),
  };
}
