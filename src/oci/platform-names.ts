/*
 * The names of systems and processors, and the aliases that stand for them: containerd/platforms v1.0.0-rc.4,
 * database.go. It takes its own machine's system for a missing one; here a missing one stays missing.
 */

export function normalizeOs(os: string): string {
  const lower = os.toLowerCase();
  return lower === 'macos' ? 'darwin' : lower;
}

/** `variant` is empty where it is the processor's usual one, but for arm, whose usual one is v7. */
export function normalizeArchitecture(
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

/** Whether Go has it, or has reserved its name (go/build, syslist.go); names are to be normalised. */
export function isKnownSystem(os: string): boolean {
  return SYSTEMS.has(os);
}

export function isKnownArchitecture(architecture: string): boolean {
  return ARCHITECTURES.has(architecture);
}
