import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { parseImageWords } from '../../image-files/list.ts';
import { ListError, type NeededImage } from '../../image-files/needed.ts';
import { counted, humanBytes, humanDuration } from '../../lib/text.ts';
import {
  type WarmedImage,
  type WarmEvent,
  type WarmPlan,
  type WarmProgress,
  type WarmSummary,
  OperationError,
  type ImagesRequest,
} from '../../operations/protocol.ts';
import type { ExitCode } from '../exit.ts';
import { imagesRequest, namedHere, neededBy, NOTHING_FOUND } from '../image-files.ts';
import { runOperation } from '../operation.ts';
import { print, printAside, table } from '../print.ts';
import { Progress, rateText } from '../progress.ts';

/** Downloads images into the cache. Exit code 1: an image is not cached in the end. */
export async function warm(
  loaded: LoadedSettings,
  flags: Flags,
  words: readonly string[],
): Promise<ExitCode> {
  const request = await warmRequest(loaded, flags, words);
  if (request.images.length === 0 && flags['allowEmpty'] !== true) {
    printAside(`pierhead: ${NOTHING_FOUND}\n`);
    return 1;
  }
  const summary = await runWarm(loaded, request);
  print(flags['json'] === true ? warmJson(summary) : warmText(summary));
  return summary.images.every(({ failures }) => failures.length === 0) ? 0 : 1;
}

/** Runs the operation, with progress on standard error. */
export async function runWarm(loaded: LoadedSettings, request: ImagesRequest): Promise<WarmSummary> {
  const progress = new Progress(process.stderr);
  const startedAt = performance.now();
  const say = (line: string): void => {
    progress.clear();
    printAside(`${line}\n`);
  };
  const onEvent = (event: WarmEvent): void => {
    switch (event.kind) {
      case 'plan':
        for (const line of planLines(event.plan)) say(line);
        return;
      case 'image':
        // A terminal shows the progress bar instead.
        if (!process.stderr.isTTY) say(`${event.image.image}: ${stateOf(event.image)}`);
        return;
      case 'progress':
        progress.show(shareOf(event), progressText(event, startedAt));
        return;
    }
  };
  try {
    return await runOperation(loaded, { name: 'warm', request, onEvent });
  } finally {
    progress.clear();
  }
}

async function warmRequest(
  loaded: LoadedSettings,
  flags: Flags,
  words: readonly string[],
): Promise<ImagesRequest> {
  const { file } = flags;
  if (typeof file !== 'string' && words.length === 0) {
    throw new OperationError('usage', 'no image is named; name images, or a file with -f');
  }
  const named = namedImages(words);
  if (typeof file === 'string') named.push(...(await neededBy(file, loaded, flags)));
  return imagesRequest(named, flags);
}

function namedImages(words: readonly string[]): NeededImage[] {
  try {
    return parseImageWords(words).map(namedHere);
  } catch (error) {
    if (!(error instanceof ListError)) throw error;
    throw new OperationError('usage', error.message, error);
  }
}

/** The cost of the request, and the pull limits that it counts against. */
export function planLines({ images, complete, pulls, bytes, isAtLeast, allowances }: WarmPlan): string[] {
  const least = isAtLeast ? 'at least ' : '';
  const cost = `${least}${counted(pulls, 'pull')} and ${humanBytes(bytes)}`;
  const there = complete === 0 ? '' : `, ${complete} of them cached already`;
  return [
    `${counted(images, 'image')}${there}; to download: ${cost}`,
    ...allowances.map(({ host, identity, limit, remaining, pulls: own }) => {
      const left = `${remaining} of ${limit} pulls are left at ${host} (${identity})`;
      return own > remaining ? `${left}, which is not enough; repeat the command later` : left;
    }),
  ];
}

export function warmJson(summary: WarmSummary): string {
  return `${JSON.stringify(summary, undefined, 2)}\n`;
}

export function warmText({ images, pulls, bytes, durationMs }: WarmSummary): string {
  const rows = images.map((image) => [
    image.image,
    image.platforms.join(','),
    image.digest ?? '-',
    humanBytes(image.bytes),
    image.fetchedBytes === 0 ? '-' : humanBytes(image.fetchedBytes),
    [stateOf(image), ...image.notes].join('; '),
  ]);
  const failed = images.filter(({ failures }) => failures.length > 0);
  const result = failed.length === 0 ? 'all cached' : `${failed.length} failed`;
  return [
    table([['IMAGE', 'PLATFORMS', 'DIGEST', 'SIZE', 'FETCHED', 'RESULT'], ...rows]),
    ...failed.flatMap(({ image, failures }) => failures.map((failure) => `${image}: ${failure}\n`)),
    `${counted(images.length, 'image')}, ${humanBytes(bytes)} and ${counted(pulls, 'pull')} in ${humanDuration(durationMs)}: ${result}\n`,
  ].join('');
}

function stateOf({ failures }: WarmedImage): string {
  return failures.length === 0 ? 'cached' : 'failed';
}

function shareOf({ images, totalImages, bytes, totalBytes }: WarmProgress): number {
  return totalBytes === 0 ? images / Math.max(totalImages, 1) : bytes / totalBytes;
}

function progressText(event: WarmProgress, startedAt: number): string {
  const { images, totalImages, bytes, totalBytes } = event;
  return `${images} of ${counted(totalImages, 'image')}, ${humanBytes(bytes)} of ${humanBytes(totalBytes)}, ${rateText(bytes, startedAt)}`;
}
