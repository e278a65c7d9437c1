import type { ExitCode } from './cli/exit.ts';
import { ServerSignals } from './cli/operation.ts';
import type { Flags } from './config/flags.ts';
import type { LoadedSettings } from './config/load.ts';
import { TIME_FORM } from './config/units.ts';

type Action = (loaded: LoadedSettings, flags: Flags, words: readonly string[]) => Promise<ExitCode>;

/** What a command needs of the data directory and of a server, in sentences for users. */
export const COMMAND_PLACES = {
  owns: 'Owns the data directory as long as it runs.',
  orders: 'Beside a server, the server does the work. Without a server, the command does the work itself.',
  reads: 'Only reads the data directory, beside a server or without one.',
  asks: 'Asks the running server at `listen`.',
  none: 'Needs no server and no data directory.',
} as const;

/** One command. `words` are its arguments. */
export interface CommandRow {
  readonly name: string;
  /** A verb in the third person and its object, in 70 characters. */
  readonly description: string;
  /** As commander spells it; none: the command takes no arguments. */
  readonly argument?: readonly [name: string, help: string];
  /** `...` at the end of a flag: it may be given more than once. */
  readonly options?: readonly (readonly [flag: string, help: string])[];
  readonly place: keyof typeof COMMAND_PLACES;
  /** What ends the command with 1, besides a failure; none: nothing. */
  readonly exitsWith1?: string;
  readonly examples: readonly string[];
  /** Loads what does it, and nothing of what does the others. */
  readonly load: () => Promise<Action>;
}

const IMAGES = ['<image...>', 'such as golang, golang:1.22 or ghcr.io/org/app@sha256:…'] as const;
const PLATFORM_LIST = [
  '--platform <platforms>',
  'platforms, such as linux/amd64,linux/arm64, or all (default: those of the file, else of the settings)',
] as const;
const FILE_OPTIONS = [
  ['--build-arg <name=value>...', 'ARG of a Dockerfile; a name alone takes the value of the environment'],
  ['--env-file <file>...', 'variables of a Compose file (default: .env beside it)'],
] as const;
const FILE_OPTION = [
  '-f, --file <file>',
  'lock, list of names, Compose file, …; - is the standard input',
] as const;
const ALLOW_EMPTY = ['--allow-empty', 'exit code 0 even if no image is named'] as const;
const JSON_OPTION = ['--json', 'output as JSON'] as const;
const OUTPUT_OPTION = ['-o, --output <file>', 'file to write; - is the standard output'] as const;

/** The commands, in the order in which `--help` lists them. */
export const COMMANDS: readonly CommandRow[] = [
  {
    name: 'serve',
    description: 'Runs the mirror until SIGTERM.',
    place: 'owns',
    exitsWith1:
      'a port or the data directory cannot be used; running answers were cut off by a second signal',
    examples: ['pierhead serve --config pierhead.yaml', 'pierhead serve --listen :5000 --cache-size 200GiB'],
    load: async () => {
      const signals = new ServerSignals();
      const { serve } = await import('./cli/commands/serve.ts');
      return (loaded) => serve(loaded, signals);
    },
  },
  {
    name: 'images',
    description: 'Lists the cached images.',
    options: [JSON_OPTION],
    place: 'reads',
    examples: ['pierhead images', 'pierhead images --json'],
    load: async () => (await import('./cli/commands/images.ts')).images,
  },
  {
    name: 'resolve',
    description: "Shows an image's platforms and layers, and which are cached.",
    argument: ['<image>', IMAGES[1]],
    options: [
      ['--platform <platform>', 'platform, such as linux/arm64, or all (default: those of the settings)'],
      ['--fetch', 'download of missing manifests; each is a pull'],
      JSON_OPTION,
    ],
    place: 'orders',
    exitsWith1: 'a platform has no manifest',
    examples: ['pierhead resolve golang:1.22', 'pierhead resolve golang:1.22 --platform all --fetch'],
    load: async () => (await import('./cli/commands/resolve.ts')).resolve,
  },
  {
    name: 'lock',
    description: 'Writes a lock: the images that clients pulled, by digest.',
    options: [
      ['--since <time>', `start of the time span: ${TIME_FORM} (default: all of the history)`],
      ['--until <time>', 'end of the time span, in the same form (default: now)'],
      ['--client <network>', 'network of clients, such as 10.2.0.0/16'],
      ['--image <pattern>', 'pattern of names, such as golang, golang:1.* or ghcr.io/org/**'],
      ['-f, --file <file>', 'file that needs the images: Compose file, Dockerfile, …'],
      ...FILE_OPTIONS,
      ['-o, --output <file>', 'file to write (default: standard output)'],
    ],
    place: 'reads',
    examples: ['pierhead lock -o images.lock', "pierhead lock --since 24h --image 'golang:1.*'"],
    load: async () => (await import('./cli/commands/lock.ts')).lock,
  },
  {
    name: 'warm',
    description: 'Downloads images into the cache.',
    argument: ['[image...]', IMAGES[1]],
    options: [FILE_OPTION, ...FILE_OPTIONS, ALLOW_EMPTY, PLATFORM_LIST, JSON_OPTION],
    place: 'orders',
    exitsWith1: 'an image is not cached in the end; no image was found',
    examples: [
      'pierhead warm golang:1.22 --platform linux/amd64,linux/arm64',
      'pierhead warm -f images.lock',
    ],
    load: async () => (await import('./cli/commands/warm.ts')).warm,
  },
  {
    name: 'check',
    description: 'Reports which images could be pulled in an outage.',
    argument: [
      '<what...>',
      'Compose files, Kubernetes manifests, kustomizations, Dockerfiles, locks, lists, - or images',
    ],
    options: [
      ['--warm', 'download of missing images first, by the server if there is one'],
      ...FILE_OPTIONS,
      ALLOW_EMPTY,
      PLATFORM_LIST,
      JSON_OPTION,
    ],
    place: 'reads',
    exitsWith1: 'an image could not be pulled; a file was not understood; no image was found',
    examples: ['pierhead check compose.yaml', 'pierhead check --warm k8s/app.yaml Dockerfile'],
    load: async () => (await import('./cli/commands/check.ts')).check,
  },
  {
    name: 'pin',
    description: 'Protects images from eviction.',
    argument: IMAGES,
    place: 'orders',
    exitsWith1: 'an image is not cached; pins would keep too much',
    examples: ['pierhead pin golang:1.22'],
    load: async () => (await import('./cli/commands/pin.ts')).pin,
  },
  {
    name: 'unpin',
    description: 'Removes pins.',
    argument: IMAGES,
    place: 'orders',
    examples: ['pierhead unpin golang:1.22'],
    load: async () => (await import('./cli/commands/pin.ts')).unpin,
  },
  {
    name: 'rm',
    description: 'Removes images, and the blobs that no other image has.',
    argument: IMAGES,
    place: 'orders',
    exitsWith1: 'an image is not cached, or is pinned',
    examples: ['pierhead rm golang:1.22'],
    load: async () => (await import('./cli/commands/pin.ts')).remove,
  },
  {
    name: 'refresh',
    description: 'Checks now whether cached tags have moved.',
    argument: ['<image...>', 'such as golang or ghcr.io/org/app:v1'],
    place: 'orders',
    exitsWith1: 'a tag is not cached, or could not be checked',
    examples: ['pierhead refresh golang:1.22'],
    load: async () => (await import('./cli/commands/refresh.ts')).refresh,
  },
  {
    name: 'export',
    description: 'Writes cached images into a bundle; all of them if none is named.',
    argument: ['[image...]', IMAGES[1]],
    options: [
      OUTPUT_OPTION,
      FILE_OPTION,
      ...FILE_OPTIONS,
      [
        '--platform <platforms>',
        'platforms, such as linux/amd64,linux/arm64, or all (default: those of the lock, else the cached ones)',
      ],
      ['--since <file>', 'earlier bundle, or index of the other site, whose blobs are left out'],
      ['--split <size>', 'size of parts, such as 4GB: <file>.001, <file>.002 …'],
      ['--sign <key>', 'Ed25519 private key (PEM) of the signature'],
      ['--docker-platform <platform>', 'platform for docker load (default: defaultPlatform)'],
      ['--foreign', 'foreign layers (Windows) too, as far as they are cached'],
      ['--allow-incomplete', 'partial images too'],
      JSON_OPTION,
    ],
    place: 'reads',
    exitsWith1: 'a named image is partial or missing',
    examples: [
      'pierhead export -o images.tar golang:1.22',
      'pierhead export -o next.tar -f images.lock --since images.tar --sign site-a.pem',
    ],
    load: async () => (await import('./cli/commands/export.ts')).exportBundle,
  },
  {
    name: 'import',
    description: 'Imports bundles into the cache.',
    argument: ['<bundle...>', 'such as images.tar, its parts images.tar.* in order, or - (standard input)'],
    options: [['--verify <key>', 'Ed25519 public key (PEM) of the signature'], JSON_OPTION],
    place: 'orders',
    exitsWith1: 'a bundle was refused',
    examples: ['pierhead import images.tar', 'pierhead import --verify site-a.pub images.tar'],
    load: async () => (await import('./cli/commands/import.ts')).importBundles,
  },
  {
    name: 'index',
    description: 'Writes a list of the cached blobs, for export --since at another site.',
    options: [OUTPUT_OPTION],
    place: 'reads',
    examples: ['pierhead index -o have.index'],
    load: async () => (await import('./cli/commands/site-index.ts')).siteIndex,
  },
  {
    name: 'verify',
    description: 'Hashes all cached content and reports damage.',
    options: [['--repair', 'removal of damaged content, and a new download'], JSON_OPTION],
    place: 'orders',
    exitsWith1: 'damage was found and not repaired',
    examples: ['pierhead verify', 'pierhead verify --repair'],
    load: async () => (await import('./cli/commands/verify.ts')).verify,
  },
  {
    name: 'config',
    description: 'Prints the settings in force and their sources, secrets masked.',
    options: [JSON_OPTION],
    place: 'none',
    examples: ['pierhead config --config pierhead.yaml'],
    load: async () => (await import('./cli/commands/config.ts')).config,
  },
  {
    name: 'setup',
    description: 'Prints the files of a client, or writes certificates for a trial.',
    argument: ['[client]', 'docker, containerd, nerdctl, podman, buildkit, k3s or kaniko'],
    options: [
      ['--url <url>', 'address of the mirror for clients, such as http://mirror.example.net:5000'],
      ['--registry <host>', 'registry to mirror (default: docker.io)'],
      [
        '--containerd <version>',
        '2 for containerd 2.2 and newer, 1 for older ones (default: both, one as a comment)',
      ],
      ['--ca <file>', "authority of an https:// mirror's certificate, if clients do not trust it yet"],
      ['--tls', 'certificates for a trial: of an authority, a server and a client'],
      ['--host <names>', 'with --tls: names and addresses of the server, separated by commas'],
      ['--out <folder>', 'with --tls: folder to write (default: tls)'],
    ],
    place: 'none',
    examples: [
      'pierhead setup docker --url http://mirror.example.net:5000',
      'pierhead setup --tls --host mirror.example.net',
    ],
    load: async () => (await import('./cli/commands/setup.ts')).setup,
  },
  {
    name: 'health',
    description: 'Tests whether the server is alive, for container health checks.',
    place: 'asks',
    exitsWith1: 'the server does not answer with 200 within 3 s',
    examples: ['pierhead health'],
    load: async () => (await import('./cli/commands/health.ts')).health,
  },
];
