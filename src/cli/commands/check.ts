import { stat } from 'node:fs/promises';
import { readReadiness } from '../../app/app.ts';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import type { ImageSource, NeededImage } from '../../image-files/needed.ts';
import { counted, humanBytes } from '../../lib/text.ts';
import { formatFullName, parseListedImage } from '../../oci/image-name.ts';
import type { MissingPart, PlatformReadiness, Readiness } from '../../operations/images/readiness.ts';
import { OperationError, type ImagesRequest } from '../../operations/protocol.ts';
import type { ExitCode } from '../exit.ts';
import {
  NOTHING_FOUND,
  fileOptions,
  imagesRequest,
  kustomizationIn,
  namedHere,
  readImageFile,
  type FileOptions,
} from '../image-files.ts';
import { hasData } from '../operation.ts';
import { table, print, printAside } from '../print.ts';
import { runWarm } from './warm.ts';

export interface CheckedImage extends Readiness {
  /** Files and lines. */
  readonly neededBy: readonly string[];
}

export interface Checked extends Pick<ImageSource, 'problems' | 'notes'> {
  readonly images: readonly CheckedImage[];
}

export function checkJson({ images, problems, notes }: Checked): string {
  const isReady = problems.length === 0 && images.every((image) => image.isReady);
  return `${JSON.stringify({ isReady, problems, notes, images }, undefined, 2)}\n`;
}

/** A row for each platform of each image, then problems, notes and the verdict. */
export function checkText({ images, problems, notes }: Checked): string {
  const rows = images.flatMap(rowsOf);
  return [
    rows.length === 0 ? '' : table([['IMAGE', 'PLATFORM', 'SIZE', 'STATE', 'NEEDED BY'], ...rows]),
    ...problems.map((problem) => `not understood: ${problem}\n`),
    ...notes.map((note) => `note: ${note}\n`),
    `${verdictOn(images)}\n`,
  ].join('');
}

function verdictOn(images: readonly CheckedImage[]): string {
  if (images.length === 0) return NOTHING_FOUND;
  const all = counted(images.length, 'image');
  const ready = images.filter(({ isReady }) => isReady).length;
  const what = ready === images.length ? `${all}: all` : `${ready} of ${all}`;
  return `${what} could be pulled now if upstreams were unreachable`;
}

function rowsOf(image: CheckedImage): string[][] {
  const by = image.neededBy.join(', ');
  if (image.platforms.length === 0) return [[image.image, '-', '-', image.problems.join('; '), by]];
  return image.platforms.map((platform) => [
    image.image,
    platform.platform,
    humanBytes(platform.bytes),
    stateOf(image, platform),
    by,
  ]);
}

function stateOf(
  { problems, foreignLayers }: CheckedImage,
  { isComplete, missing, blobs }: PlatformReadiness,
) {
  const foreign = foreignLayers === 0 ? [] : [`without ${counted(foreignLayers, 'foreign layer')}`];
  const what = isComplete ? ['cached'] : missingTexts(missing, blobs);
  return [...problems, ...what, ...foreign].join('; ');
}

/** Without digests: these are in the JSON. */
function missingTexts(missing: readonly MissingPart[], blobs: number): string[] {
  const ofKind = (kind: MissingPart['kind']) => missing.filter((part) => part.kind === kind);
  const manifests = ofKind('manifest');
  const lost = ofKind('blob');
  const bytes = lost.reduce((sum, { size = 0 }) => sum + size, 0);
  const parts = [
    ...(manifests.length === 0 ? [] : [counted(manifests.length, 'manifest')]),
    ...(lost.length === 0 ? [] : [`${lost.length} of ${counted(blobs, 'blob')} (${humanBytes(bytes)})`]),
  ].join(', ');
  const isPartial = lost.length < blobs;
  const isOnlyAttestation = missing.every(({ partOf }) => partOf === 'attestation');
  return [
    ...ofKind('platform').map(({ reason }) => reason),
    ...(parts === '' ? [] : [isPartial ? `partial: ${parts} missing` : `missing: ${parts}`]),
    ...(isOnlyAttestation ? ['of the attestation, which only Docker 29 needs'] : []),
  ];
}

/**
 * Reports which images could be pulled if upstreams were unreachable. Exit code 1: an image could not, or a file has a
 * problem. Without `--warm` it only reads, so it takes no lock and asks no server.
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
  // A file without images may have been misread.
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
  printAside(`downloaded ${counted(fetched.length - failed.length, 'image')}\n`);
}

function nameIn(line: string): string {
  const image = parseListedImage(line);
  return image === undefined ? line : formatFullName(image);
}

function placesOf({ image }: Readiness, needed: readonly NeededImage[]): CheckedImage['neededBy'] {
  return needed.filter((each) => formatFullName(each.image) === image).map(({ place }) => place);
}

/** Arguments that are files even if the file is missing: no name of an image looks like these. */
const FILE_NAME =
  /^[./~]|^-$|[/\\]$|\.(?:ya?ml|json|lock|txt|list|(?:docker|container)file)$|(?:^|[/\\])(?:Docker|Container)file/i;

/** The images of an argument: a file, a folder with a kustomization, or an image. */
async function sourceOf(word: string, options: FileOptions): Promise<ImageSource> {
  const isFile = FILE_NAME.test(word) || (await stat(word).catch(() => undefined))?.isFile() === true;
  if (isFile || (await kustomizationIn(word)) !== undefined) return readImageFile(word, options);
  const image = parseListedImage(word);
  if (image !== undefined) return { images: [namedHere(image)], problems: [], notes: [], further: [] };
  throw new OperationError('usage', `${JSON.stringify(word)} is not a file, and not the name of an image`);
}
