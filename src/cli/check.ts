import { stat } from 'node:fs/promises';
import { readReadiness } from '../app.ts';
import type { ImageSource, NeededImage } from '../bundle/needed-images.ts';
import type { Flags } from '../config/flags.ts';
import type { LoadedSettings } from '../config/load.ts';
import { counted } from '../lib/human.ts';
import { formatFullName } from '../oci/image-name.ts';
import { parseListedImage } from '../oci/listed-image.ts';
import type { Readiness } from '../pull/image-readiness.ts';
import { OperationError } from '../pull/operations.ts';
import type { ImagesRequest } from '../pull/wanted-images.ts';
import { checkJson, checkText, type CheckedImage } from './check-text.ts';
import {
  fileOptions,
  imagesRequest,
  kustomizationIn,
  namedHere,
  readImageFile,
  type FileOptions,
} from './image-files.ts';
import { hasData } from './operation.ts';
import { print, printAside } from './print.ts';
import type { ExitCode } from './serve.ts';
import { runWarm } from './warm.ts';

/**
 * Says which images could be pulled with upstream unplugged: exit code 1 if one could not, or not all could be read. It
 * only reads, so it takes no lock and asks no server, unless it is to fetch what is missing.
 */
export async function check(
  loaded: LoadedSettings,
  flags: Flags,
  words: readonly string[],
): Promise<ExitCode> {
  await hasData(loaded.settings.dataDir);
  const options = fileOptions(loaded, flags);
  const sources = await Promise.all(words.map((word) => sourceOf(word, options)));
  const needed = sources.flatMap(({ images }) => images);
  const problems = sources.flatMap((source) => source.problems);
  const notes = sources.flatMap((source) => source.notes);
  const request = imagesRequest(needed, flags);
  let results = await readReadiness(loaded.settings, request);
  if (flags['warm'] === true && results.some(({ isReady }) => !isReady)) {
    await fetchMissing(loaded, request, results);
    results = await readReadiness(loaded.settings, request);
  }
  const checked = results.map((result) => ({ ...result, neededBy: placesOf(result, needed) }));
  const found = { images: checked, problems, notes };
  print(flags['json'] === true ? checkJson(found) : checkText(found));
  // Of a file in which nothing was understood nobody knows whether it could be pulled.
  const isEmpty = checked.length === 0 && flags['allowEmpty'] !== true;
  return !isEmpty && problems.length === 0 && checked.every(({ isReady }) => isReady) ? 0 : 1;
}

async function fetchMissing(
  loaded: LoadedSettings,
  request: ImagesRequest,
  results: readonly Readiness[],
): Promise<void> {
  const missing = new Set(results.filter(({ isReady }) => !isReady).map(({ image }) => image));
  const images = request.images.filter((line) => missing.has(nameIn(line)));
  const { images: fetched } = await runWarm(loaded, { ...request, images });
  const failed = fetched.filter(({ failures }) => failures.length > 0);
  for (const { image, failures } of failed) {
    for (const failure of failures) printAside(`pierhead: ${image}: ${failure}\n`);
  }
  printAside(`fetched ${counted(fetched.length - failed.length, 'image')}\n`);
}

function nameIn(line: string): string {
  const image = parseListedImage(line);
  return image === undefined ? line : formatFullName(image);
}

function placesOf({ image }: Readiness, needed: readonly NeededImage[]): CheckedImage['neededBy'] {
  return needed.filter((each) => formatFullName(each.image) === image).map(({ place }) => place);
}

/** No name of an image looks like these; a file that is not there is not to be taken for one. */
const FILE_NAME =
  /^[./~]|^-$|[/\\]$|\.(?:ya?ml|json|lock|txt|list|(?:docker|container)file)$|(?:^|[/\\])(?:Docker|Container)file/i;

/** What a word of the command means: a file or a kustomization, if there is one, or an image. */
async function sourceOf(word: string, options: FileOptions): Promise<ImageSource> {
  const isFile = FILE_NAME.test(word) || (await stat(word).catch(() => undefined))?.isFile() === true;
  if (isFile || (await kustomizationIn(word)) !== undefined) return readImageFile(word, options);
  const image = parseListedImage(word);
  if (image !== undefined) return { images: [namedHere(image)], problems: [], notes: [], further: [] };
  throw new OperationError('usage', `${JSON.stringify(word)} is no file, and not the name of an image`);
}
