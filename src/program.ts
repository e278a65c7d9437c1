import { Command, CommanderError } from 'commander';
import { TIME_FORM } from './cli/commands/lock.ts';
import { exitCodeOf, messageOf, type ExitCode, packageVersion } from './cli/exit.ts';
import { ServerSignals } from './cli/operation.ts';
import { printAside } from './cli/print.ts';
import { SETTING_FLAGS, type Flags } from './config/flags.ts';
import { loadSettings, type LoadedSettings } from './config/load.ts';

type Action = (loaded: LoadedSettings, flags: Flags, words: readonly string[]) => Promise<ExitCode>;

/** One command. `words` are its arguments. */
interface CommandRow {
  readonly name: string;
  readonly description: string;
  /** As commander spells it; none: the command takes no arguments. */
  readonly argument?: readonly [name: string, help: string];
  /** `...` at the end of a flag: it may be given more than once. */
  readonly options?: readonly (readonly [flag: string, help: string])[];
  /** Loads what does it, and nothing of what does the others. */
  readonly load: () => Promise<Action>;
}

const IMAGES = ['<image...>', 'such as golang, golang:1.22 or ghcr.io/org/app@sha256:…'] as const;
const PLATFORM_LIST = [
  '--platform <platforms>',
  'for these, such as linux/amd64,linux/arm64, or all (default: those of the file, else of the settings)',
] as const;
const FILE_OPTIONS = [
  ['--build-arg <name=value>...', 'ARG of a Dockerfile; its name alone: by its value in the environment'],
  ['--env-file <file>...', 'variables of a Compose file, instead of the .env beside it'],
] as const;
const ALLOW_EMPTY = ['--allow-empty', 'exit 0 even if no image is named'] as const;
const JSON_OPTION = ['--json', 'as JSON'] as const;
const OUTPUT_OPTION = ['-o, --output <file>', 'the file to write, or - for the standard output'] as const;

const COMMANDS: readonly CommandRow[] = [
  {
    name: 'serve',
    description: 'Runs the mirror. SIGTERM stops it gracefully.',
    load: async () => {
      const signals = new ServerSignals();
      const { serve } = await import('./cli/commands/serve.ts');
      return (loaded) => serve(loaded, signals);
    },
  },
  {
    name: 'images',
    description: 'Lists the images that are kept.',
    options: [JSON_OPTION],
    load: async () => (await import('./cli/commands/images.ts')).images,
  },
  {
    name: 'resolve',
    description: "Shows an image's platforms and layers, and which are cached.",
    argument: ['<image>', IMAGES[1]],
    options: [
      ['--platform <platform>', 'for this one, such as linux/arm64, or all (default: those of the settings)'],
      ['--fetch', 'fetch the manifests that are missing: each is a pull'],
      JSON_OPTION,
    ],
    load: async () => (await import('./cli/commands/resolve.ts')).resolve,
  },
  {
    name: 'lock',
    description: 'Writes what was pulled as a lock: images by their exact digests, with their platforms.',
    options: [
      ['--since <time>', `not before: ${TIME_FORM} (default: all that is remembered)`],
      ['--until <time>', 'before: the same'],
      ['--client <network>', 'by clients of this network, such as 10.2.0.0/16'],
      ['--image <pattern>', 'of these names, such as golang, golang:1.* or ghcr.io/org/**'],
      ['-f, --file <file>', 'of those that this file needs: a Compose file, a Dockerfile, …'],
      ...FILE_OPTIONS,
      ['-o, --output <file>', 'where to (default: standard output)'],
    ],
    load: async () => (await import('./cli/commands/lock.ts')).lock,
  },
  {
    name: 'warm',
    description:
      'Brings images into the cache, behind what clients wait for. Can be cut off and begun again.',
    argument: ['[image...]', IMAGES[1]],
    options: [
      ['-f, --file <file>', 'images of a lock, a list of names, a Compose file, …; - is standard input'],
      ...FILE_OPTIONS,
      ALLOW_EMPTY,
      PLATFORM_LIST,
      JSON_OPTION,
    ],
    load: async () => (await import('./cli/commands/warm.ts')).warm,
  },
  {
    name: 'check',
    description:
      'Says which images could be pulled now if upstream were gone, and what is missing of the others.',
    argument: [
      '<what...>',
      'Compose files, Kubernetes manifests, kustomizations, Dockerfiles, locks, lists, - or images',
    ],
    options: [
      ['--warm', 'fetch what is missing first'],
      ...FILE_OPTIONS,
      ALLOW_EMPTY,
      PLATFORM_LIST,
      JSON_OPTION,
    ],
    load: async () => (await import('./cli/commands/check.ts')).check,
  },
  {
    name: 'pin',
    description: 'Keeps images from eviction: a tag with whatever it names from time to time.',
    argument: IMAGES,
    load: async () => (await import('./cli/commands/pin.ts')).pin,
  },
  {
    name: 'unpin',
    description: 'Takes pins back.',
    argument: IMAGES,
    load: async () => (await import('./cli/commands/pin.ts')).unpin,
  },
  {
    name: 'rm',
    description: 'Removes images, and what nothing else needs of them.',
    argument: IMAGES,
    load: async () => (await import('./cli/commands/pin.ts')).remove,
  },
  {
    name: 'refresh',
    description: 'Asks upstream now whether cached tags have moved.',
    argument: ['<image...>', 'such as golang or ghcr.io/org/app:v1'],
    load: async () => (await import('./cli/commands/refresh.ts')).refresh,
  },
  {
    name: 'export',
    description:
      'Writes images into a bundle, to be imported elsewhere; without a name, everything that is cached.',
    argument: ['[image...]', IMAGES[1]],
    options: [
      OUTPUT_OPTION,
      ['-f, --file <file>', 'those of a lock, a list of names, a Compose file, …; - is standard input'],
      ...FILE_OPTIONS,
      [
        '--platform <platforms>',
        'such as linux/amd64,linux/arm64, or all (default: those of the lock, else what is cached)',
      ],
      ['--since <file>', 'leave out the blobs of this earlier bundle, or index of the other side'],
      ['--split <size>', 'in parts of this size, such as 4GB: <file>.001, <file>.002 …'],
      ['--sign <key>', 'sign it with this Ed25519 private key (PEM)'],
      ['--docker-platform <platform>', 'what docker load gets of an image (default: that of the settings)'],
      ['--foreign', 'with foreign layers (Windows), as far as they are cached'],
      ['--allow-incomplete', 'write what there is of images that are partial'],
      JSON_OPTION,
    ],
    load: async () => (await import('./cli/commands/export.ts')).exportBundle,
  },
  {
    name: 'import',
    description: 'Takes bundles in: all of one, or nothing. Parts of one in order, - is the standard input.',
    argument: ['<bundle...>', 'such as images.tar, images.tar.* or -'],
    options: [['--verify <key>', 'only if it is signed by this Ed25519 public key (PEM)'], JSON_OPTION],
    load: async () => (await import('./cli/commands/import.ts')).importBundles,
  },
  {
    name: 'index',
    description: 'Writes which blobs are cached here, for bundles from elsewhere to leave them out.',
    options: [OUTPUT_OPTION],
    load: async () => (await import('./cli/commands/site-index.ts')).siteIndex,
  },
  {
    name: 'verify',
    description: 'Hashes all that is cached and says what is wrong.',
    options: [['--repair', 'remove what is wrong and fetch it anew'], JSON_OPTION],
    load: async () => (await import('./cli/commands/verify.ts')).verify,
  },
  {
    name: 'config',
    description: 'Prints the effective settings and where each came from; secrets are masked.',
    options: [JSON_OPTION],
    load: async () => (await import('./cli/commands/config.ts')).config,
  },
  {
    name: 'setup',
    description: 'Prints the files that make a client use the mirror, or writes certificates for a trial.',
    argument: ['[client]', 'docker, containerd, nerdctl, podman, buildkit, k3s or kaniko'],
    options: [
      ['--url <url>', 'where clients find the mirror, such as http://mirror.example.net:5000'],
      ['--registry <host>', 'what it is a mirror of (default: docker.io)'],
      [
        '--containerd <version>',
        '2 for containerd 2.2 and newer, 1 for older ones (default: both, one as a comment)',
      ],
      ['--ca <file>', "the authority of an https:// mirror's certificate, if clients do not trust it yet"],
      ['--tls', 'write an authority and certificates of it for a server and a client'],
      ['--host <names>', "with --tls: the server's names and addresses, separated by commas"],
      ['--out <folder>', 'with --tls: where to (default: tls)'],
    ],
    load: async () => (await import('./cli/commands/setup.ts')).setup,
  },
  {
    name: 'health',
    description: 'Exits 0 if the server of these settings is alive; for container health checks.',
    load: async () => (await import('./cli/commands/health.ts')).health,
  },
];

/** The commands with their arguments and flags; `done` is told how the one that runs has ended. */
export function createProgram(done: (code: ExitCode) => void): Command {
  const program = new Command('pierhead')
    .description('A caching pull-through edge proxy in front of Docker Hub.')
    .version(packageVersion())
    .exitOverride()
    .showSuggestionAfterError();
  for (const row of COMMANDS) addCommand(program, done, row);
  return program;
}

function addCommand(program: Command, done: (code: ExitCode) => void, row: CommandRow): void {
  const command = program.command(row.name).description(row.description);
  command.allowExcessArguments(false).exitOverride();
  if (row.argument !== undefined) command.argument(...row.argument);
  for (const [flag, help] of row.options ?? []) {
    const once = flag.replace(/\.\.\.$/, '');
    if (once === flag) command.option(flag, help);
    else command.option(once, help, gathered);
  }
  for (const { name: flag, argument, help } of SETTING_FLAGS) {
    command.option(argument === undefined ? flag : `${flag} ${argument}`, help);
  }
  command.action(async () => {
    const flags: Flags = command.opts();
    const loaded = loadSettings({ flags, env: process.env, cwd: process.cwd() });
    const action = await row.load();
    done(await action(loaded, flags, command.args));
  });
}

/** Of an option that may be given more than once. */
function gathered(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Runs the command of a command line. Resolves to the exit code once all that it has printed is written. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  let lost: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error) => (lost = error));
  process.stderr.on('error', () => undefined);
  const code = await runCommand(argv);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  if (lost === undefined) return code;
  // Whoever has closed a pipe knows that; of an error that has been told already nothing more is said.
  if (lost.code !== 'EPIPE' && code === 0) {
    printAside(`pierhead: not all of it could be written: ${lost.message}\n`);
  }
  return code === 0 ? 1 : code;
}

async function runCommand(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  try {
    await createProgram((result) => {
      code = result;
    }).parseAsync(argv);
    return code;
  } catch (error) {
    // Commander has said what is wrong; help and version are no failures.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    printAside(`pierhead: ${messageOf(error)}\n`);
    return exitCodeOf(error);
  }
}

/** What a slow reader of a pipe has not taken yet would be lost with the process. */
function flushed(output: NodeJS.WriteStream): Promise<void> {
  // A file takes what it takes at once, and an error of it comes after that.
  if (output.writableLength === 0) return new Promise((done) => setImmediate(done));
  return new Promise((done) => output.write('', () => done()));
}
