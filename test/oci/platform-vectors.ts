/*
 * What containerd/platforms v1.0.0-rc.4 publishes of its behaviour in its own tests, as data: the platforms are listed
 * by what they share, `linux/arm/{v5,v6}` being two.
 */

/** The platforms that a pattern with `{a,b}` groups stands for; an empty alternative drops the slash before it. */
export function expand(pattern: string): string[] {
  const group = /\{([^{}]*)\}/.exec(pattern);
  if (group === null) return [pattern.replace(/\/$/, '')];
  return (group[1] ?? '').split(',').flatMap((each) => expand(pattern.replace(group[0], each)));
}

export interface MatchVector {
  readonly wanted: string;
  readonly fits: readonly string[];
  readonly fitsNot: readonly string[];
}

const WINDOWS = 'windows/{amd64,arm}';

/** TestOnly. */
export const ONLY: readonly MatchVector[] = [
  {
    wanted: 'linux/amd64',
    fits: ['linux/{amd64,386}'],
    fitsNot: ['linux/amd64/v2', 'linux/arm/v7', 'linux/arm64', WINDOWS],
  },
  {
    wanted: 'linux/amd64/v2',
    fits: ['linux/amd64/{,v1,v2}', 'linux/386'],
    fitsNot: ['linux/amd64/{v3,v4}', 'linux/arm/v7', 'linux/arm64', WINDOWS],
  },
  { wanted: 'linux/386', fits: ['linux/386'], fitsNot: ['linux/{amd64,arm/v7,arm64}', WINDOWS] },
  {
    wanted: 'windows/amd64',
    fits: ['windows{,(10.0.17763)}/amd64'],
    fitsNot: ['linux/{amd64,arm/v7,arm64}', 'windows/arm'],
  },
  {
    wanted: 'linux/arm/v8',
    fits: ['linux/arm/{,v5,v6,v7,v8}'],
    fitsNot: ['linux/{amd64,arm/v4,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm/v7',
    fits: ['linux/arm/{,v5,v6,v7}'],
    fitsNot: ['linux/{amd64,arm/v4,arm/v8,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm/v6',
    fits: ['linux/arm/{v5,v6}'],
    fitsNot: ['linux/arm/{,v4,v7,v8}', 'linux/{amd64,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm/v5',
    fits: ['linux/arm/v5'],
    fitsNot: ['linux/arm/{,v4,v6,v7,v8}', 'linux/{amd64,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm/v4',
    fits: ['linux/arm/v4'],
    fitsNot: ['linux/arm/{,v5,v6,v7,v8}', 'linux/{amd64,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm64/v9.6',
    fits: [
      'linux/arm/{,v5,v6,v7,v8}',
      'linux/arm64/{,v8,v8.1,v8.2,v8.3,v8.4,v8.5,v8.6,v8.7,v8.8,v8.9}',
      'linux/arm64/{v9,v9.0,v9.1,v9.2,v9.3,v9.4,v9.5,v9.6}',
    ],
    fitsNot: ['linux/{amd64,arm/v4,arm64/v8.10}', WINDOWS],
  },
  {
    wanted: 'linux/arm64/v9',
    fits: ['linux/arm/{,v5,v6,v7,v8}', 'linux/arm64/{,v8,v8.1,v8.2,v8.3,v8.4,v8.5}', 'linux/arm64/{v9,v9.0}'],
    fitsNot: ['linux/{amd64,arm/v4,arm64/v8.6}', WINDOWS],
  },
  {
    wanted: 'linux/arm64/v8.1',
    fits: ['linux/arm/{,v5,v6,v7,v8}', 'linux/arm64/{,v8,v8.1}'],
    fitsNot: ['linux/{amd64,arm/v4,arm/v9,arm64/v9}', WINDOWS],
  },
  {
    wanted: 'linux/arm64',
    fits: ['linux/arm/{,v5,v6,v7,v8}', 'linux/arm64/{,v8}'],
    fitsNot: ['linux/{amd64,arm/v4,arm/v9,arm64/v9}', WINDOWS],
  },
];

/** TestOnlyStrict: no fallbacks. */
export const ONLY_STRICT: readonly MatchVector[] = [
  { wanted: 'linux/amd64', fits: ['linux/amd64'], fitsNot: ['linux/{386,arm/v7,arm64}', WINDOWS] },
  { wanted: 'linux/386', fits: ['linux/386'], fitsNot: ['linux/{amd64,arm/v7,arm64}', WINDOWS] },
  ...['windows/amd64', 'windows(10.0.17763)/amd64'].map((wanted) => ({
    wanted,
    fits: ['windows{,(10.0.17763)}/amd64'],
    fitsNot: ['linux/{amd64,arm/v7,arm64}', 'windows/arm'],
  })),
  {
    wanted: 'linux/arm/v8',
    fits: ['linux/arm/v8'],
    fitsNot: ['linux/arm/{,v4,v5,v6,v7}', 'linux/{amd64,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm/v7',
    fits: ['linux/arm/{,v7}'],
    fitsNot: ['linux/arm/{v4,v5,v6,v8}', 'linux/{amd64,arm64}', WINDOWS],
  },
  {
    wanted: 'linux/arm64/v9.5',
    fits: ['linux/arm64/v9.5'],
    fitsNot: ['linux/arm/{,v5,v6,v7,v8}', 'linux/arm64/{v8,v8.1,v9,v9.1,v9.4}', 'linux/amd64', WINDOWS],
  },
  {
    wanted: 'linux/arm64/v9',
    fits: ['linux/arm64/{v9,v9.0}'],
    fitsNot: ['linux/arm/{,v8,v9}', 'linux/arm64/{v8,v8.1}', 'linux/amd64', WINDOWS],
  },
  {
    wanted: 'linux/arm64',
    fits: ['linux/arm64/{,v8}'],
    fitsNot: ['linux/arm/{,v7,v8,v9}', 'linux/arm64/v9', 'linux/amd64', WINDOWS],
  },
];

/** TestCompareOSFeatures: how these platforms, in this order, are sorted for the first. */
export const FEATURE_ORDER: readonly (readonly [
  wanted: string,
  given: readonly string[],
  sorted: readonly string[],
])[] = [
  [
    'linux/amd64',
    ['windows/amd64', 'linux/amd64', 'linux(+other)/amd64', 'linux/arm64'],
    ['linux/amd64', 'linux(+other)/amd64', 'windows/amd64', 'linux/arm64'],
  ],
  [
    'linux(+none)/amd64',
    ['windows/amd64', 'linux/amd64', 'linux/arm64', 'linux(+other)/amd64'],
    ['linux/amd64', 'linux(+other)/amd64', 'windows/amd64', 'linux/arm64'],
  ],
  ...['linux(+other)/amd64', 'linux(+af+other+zf)/amd64'].map(
    (wanted) =>
      [
        wanted,
        ['windows/amd64', 'linux/amd64', 'linux/arm64', 'linux(+other)/amd64'],
        ['linux(+other)/amd64', 'linux/amd64', 'windows/amd64', 'linux/arm64'],
      ] as const,
  ),
  [
    'linux(+f1+f2)/amd64',
    ['linux/amd64', 'linux(+f2)/amd64', 'linux(+f1)/amd64', 'linux(+f1+f2)/amd64'],
    ['linux(+f1+f2)/amd64', 'linux(+f2)/amd64', 'linux(+f1)/amd64', 'linux/amd64'],
  ],
  [
    'linux(7.2+other)/amd64',
    ['linux/amd64', 'linux(+other)/amd64', 'linux(7.1)/amd64', 'linux(7.2+other)/amd64'],
    ['linux(+other)/amd64', 'linux(7.2+other)/amd64', 'linux/amd64', 'linux(7.1)/amd64'],
  ],
];

/** Test_PlatformCompat: builds of a Windows host, of an image, and whether the one runs the other. */
export const WINDOWS_BUILDS: readonly (readonly [host: number, image: number, runs: boolean])[] = [
  [17763, 17763, true],
  [17763, 20348, false],
  [20348, 17763, false],
  [20348, 20348, true],
  [22621, 17763, false],
  [22621, 20348, true],
  [25398, 17763, false],
  [25398, 20348, true],
  [26100, 20348, true],
  [20348, 26100, false],
  [20348, 22621, false],
  [26100, 22621, true],
];

/** Test_PlatformOrder, TestWindowsMatchComparerLess: a Windows host, entries, and how they are sorted for it. */
export const WINDOWS_ORDER: readonly (readonly [
  host: string,
  given: readonly string[],
  sorted: readonly string[],
])[] = [
  [
    '10.0.20348.3091',
    ['linux', '10.0.20348.3091', '10.0.26100.2894'],
    ['10.0.20348.3091', 'linux', '10.0.26100.2894'],
  ],
  [
    '10.0.26100.2894',
    ['linux', '10.0.20348.3091', '10.0.26100.2894'],
    ['10.0.26100.2894', '10.0.20348.3091', 'linux'],
  ],
  [
    '10.0.26100.2894',
    ['linux', '10.0.20348.3091', '10.0.26100.3000'],
    ['10.0.26100.3000', '10.0.20348.3091', 'linux'],
  ],
  [
    '10.0.17763.1',
    ['10.0.17764.1', '', '10.0.17763.1', '10.0.17763.2', '10.0.17762.1'],
    ['10.0.17763.2', '10.0.17763.1', '', '10.0.17764.1', '10.0.17762.1'],
  ],
];

/**
 * TestParseSelector, TestFormatAllEncoding: a text and how it is written once read. Where a test there has a single
 * word, which this program does not complete, the other one is added.
 */
export const FORMS: readonly (readonly [text: string, written: string])[] = [
  ['linux/arm64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64/v8'],
  ['linux/arm', 'linux/arm'],
  ['linux/arm/v6', 'linux/arm/v6'],
  ['linux/arm/v7', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/armhf', 'linux/arm'],
  ['linux/Aarch64', 'linux/arm64'],
  ['Linux/x86_64', 'linux/amd64'],
  ['linux/i386', 'linux/386'],
  ['linux/s390x', 'linux/s390x'],
  ['macOS/arm64', 'darwin/arm64'],
  ['windows()/amd64', 'windows/amd64'],
  ['windows(10.0.17763)/amd64', 'windows(10.0.17763)/amd64'],
  ['windows(10.0.17763+win32k)/amd64', 'windows(10.0.17763+win32k)/amd64'],
  ['linux(+gpu)/amd64', 'linux(+gpu)/amd64'],
  ['linux(+gpu+simd)/amd64', 'linux(+gpu+simd)/amd64'],
  ['linux(+unsorted+erofs)/amd64', 'linux(+erofs+unsorted)/amd64'],
  ['windows(10.0.17763%2Bbuild.42)/amd64', 'windows(10.0.17763%2Bbuild.42)/amd64'],
  ['windows(10.0.17763%2Bbuild.42+win32k)/amd64', 'windows(10.0.17763%2Bbuild.42+win32k)/amd64'],
  ['windows(50%25done)/amd64', 'windows(50%25done)/amd64'],
  ['windows(1.0%28beta%29)/amd64', 'windows(1.0%28beta%29)/amd64'],
  ['windows(a%2Fb)/amd64', 'windows(a%2Fb)/amd64'],
  ['linux(+feat%2Bv2)/amd64', 'linux(+feat%2Bv2)/amd64'],
  ['linux(+100%25gpu)/amd64', 'linux(+100%25gpu)/amd64'],
  ['windows(10.0%2Bbuild+feat%2B1)/amd64', 'windows(10.0%2Bbuild+feat%2B1)/amd64'],
];

/** TestParseSelectorInvalid, and single words. */
export const NO_PLATFORMS: readonly string[] = [
  '',
  '*',
  'linux/*',
  '*/arm64',
  '/linux/arm',
  'linux/arm/',
  'linux /arm',
  'linux/&arm',
  'linux/arm/foo/bar',
  'linux',
  'arm64',
];
