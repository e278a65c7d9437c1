/** The first three numbers of an `os.version` such as `10.0.20348.2966`. */
interface WindowsVersion {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

/** From Windows Server 2022 on, a host runs containers from the release with long-term service before it up to itself. */
const LTSC_2022_BUILD = 20_348;
const LTSC_BUILDS: readonly number[] = [LTSC_2022_BUILD, 26_100];

/**
 * Whether a Windows host of one `os.version` runs images of another; a version that is not stated fits any
 * (containerd/platforms v1.0.0-rc.4, platform_windows_compat.go; Microsoft, "Windows container version compatibility").
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

/** All zero for what is no version. */
function parseWindowsVersion(text: string): WindowsVersion {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,5})(?:\.|$)/.exec(text);
  const [major = 0, minor = 0, build = 0] = (match ?? []).slice(1).map(Number);
  // What does not fit the bytes of the real thing is none either.
  if (major > 255 || minor > 255 || build > 65_535) return { major: 0, minor: 0, build: 0 };
  return { major, minor, build };
}

function isEmpty({ major, minor, build }: WindowsVersion): boolean {
  return major === 0 && minor === 0 && build === 0;
}
