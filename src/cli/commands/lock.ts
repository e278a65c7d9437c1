import { readPulls } from '../../app/app.ts';
import { parseNetwork } from '../../config/addresses.ts';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { parseDuration, quoted, TIME_FORM, UnitError } from '../../config/units.ts';
import { imagePattern } from '../../image-files/list.ts';
import { renderLockFile, lockedImages, type PulledImage } from '../../image-files/lock.ts';
import { networkOverlap } from '../../lib/networks.ts';
import { counted } from '../../lib/text.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { parseRepositoryKey, repositoryKey } from '../../oci/reference.ts';
import { OperationError } from '../../operations/protocol.ts';
import type { PullEntry } from '../../store/history.ts';
import { askOwner } from '../control-client.ts';
import type { ExitCode } from '../exit.ts';
import { neededBy } from '../image-files.ts';
import { hasData } from '../operation.ts';
import { writeOutput, print, printAside } from '../print.ts';

/** A part of ISO 8601. A date alone is its first second in the time zone of this machine. */
const TIME = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d)?)?$/;

/** Ms since the epoch. Throws OperationError `usage`, which names the `flag`. */
function parsePointInTime(flag: string, text: string, nowMs: number): number {
  const at = TIME.test(text) ? Date.parse(text.length === 10 ? `${text}T00:00` : text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  try {
    return nowMs - parseDuration(text);
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    throw new OperationError('usage', `${flag}: ${quoted(text)} is not a time; allowed: ${TIME_FORM}`, error);
  }
}

/**
 * Writes a lock of the images that clients pulled in a time span. It only reads the index, so it does not own the data
 * directory. It asks a running server to write the pulls that are only in memory.
 */
export async function lock(loaded: LoadedSettings, flags: Flags): Promise<ExitCode> {
  const { dataDir } = loaded.settings;
  const wanted = wantedPulls(flags, await namesIn(loaded, flags), Date.now());
  const pulls = (await hasData(dataDir)) ? await pullsIn(dataDir, wanted) : [];
  const images = lockedImages(pulls.map(pulledImage));
  const output = flags['output'];
  const path = typeof output === 'string' ? output : '-';
  await writeOutput(path, renderLockFile(images));
  if (images.length === 0) printAside('pierhead: the history has no such pull\n');
  else if (path !== '-') print(`${counted(images.length, 'image')} in ${path}\n`);
  return 0;
}

async function pullsIn(dataDir: string, wanted: WantedPulls): Promise<PullEntry[]> {
  await flushOwner(dataDir);
  return (await readPulls(dataDir, wanted)).filter(wanted.fits);
}

interface WantedPulls {
  readonly since: number;
  readonly until: number;
  readonly fits: (pull: PullEntry) => boolean;
}

function wantedPulls(
  { since, until, client, image }: Flags,
  names: ReadonlySet<string> | undefined,
  nowMs: number,
): WantedPulls {
  const isOfNetwork = typeof client === 'string' ? networkOverlap(networkOf(client)) : undefined;
  const isNamed = typeof image === 'string' ? imagePattern(image) : undefined;
  return {
    since: typeof since === 'string' ? parsePointInTime('--since', since, nowMs) : -Infinity,
    // Not `nowMs`: the server may record a pull while the lock is written.
    until: typeof until === 'string' ? parsePointInTime('--until', until, nowMs) : Number.MAX_SAFE_INTEGER,
    fits: ({ repository, tag, root, network }) =>
      (names === undefined || names.has(`${repository}:${tag}`) || names.has(`${repository}@${root}`)) &&
      (isOfNetwork === undefined || (network !== '' && isOfNetwork(network))) &&
      (isNamed === undefined || isNamed(parseRepositoryKey(repository), tag)),
  };
}

/** The images of the file of `-f`; undefined: no file. */
async function namesIn(loaded: LoadedSettings, flags: Flags): Promise<ReadonlySet<string> | undefined> {
  const { file } = flags;
  if (typeof file !== 'string') return undefined;
  const images = await neededBy(file, loaded, flags);
  // An empty lock would look like the lock of a file without images.
  if (images.length === 0) {
    throw new OperationError('failed', `no image was found: ${file}; name a file that needs some`);
  }
  return new Set(
    images.map(({ image: { repository, tag, digest } }) =>
      digest === undefined ? `${repositoryKey(repository)}:${tag}` : `${repositoryKey(repository)}@${digest}`,
    ),
  );
}

function networkOf(text: string): string {
  try {
    return parseNetwork(text);
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    throw new OperationError('usage', `--client: ${error.message}`, error);
  }
}

/** Without an answer of the server, the lock lacks the pulls of the last few seconds, so it is written all the same. */
async function flushOwner(dataDir: string): Promise<void> {
  const run = { signal: new AbortController().signal, onEvent: () => undefined };
  try {
    await askOwner(dataDir, { name: 'flush', request: {}, run });
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    printAside(`pierhead: pulls of the last seconds may be missing: ${error.message}\n`);
  }
}

function pulledImage({ repository, tag, root, child, platform: text, lastAt }: PullEntry): PulledImage {
  const platform = text === undefined ? undefined : parsePlatform(text);
  return { repository: parseRepositoryKey(repository), tag, root, child, platform, lastAt };
}
