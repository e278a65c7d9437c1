import { readFile } from 'node:fs/promises';
import { readContent, type StoredContent } from '../../app/app.ts';
import { BundleError } from '../../bundle/error.ts';
import { KeyError, parsePrivateKey } from '../../bundle/signature.ts';
import { Bundle } from '../../bundle/writer.ts';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import { readFailure, SettingsError, parseSize, UnitError } from '../../config/units.ts';
import { parseImageWords, type ListedImage } from '../../image-files/list.ts';
import { counted, humanBytes } from '../../lib/text.ts';
import type { Digest } from '../../oci/digest.ts';
import { parsePlatform, PLATFORM_FORM, type Platform } from '../../oci/platform.ts';
import { type BundlePlan, planBundle } from '../../operations/bundle/export-plan.ts';
import { STDOUT, writeStream, outputOf } from '../bundle-output.ts';
import type { ExitCode } from '../exit.ts';
import { fileOptions, printNotes, readImageFile } from '../image-files.ts';
import { hasData, untilSignal } from '../operation.ts';
import { print, printAside } from '../print.ts';
import { Progress } from '../progress.ts';
import { blobsSince } from './site-index.ts';

interface ExportResult {
  readonly plan: BundlePlan;
  readonly files: readonly string[];
  readonly bytes: number;
}

/** The written files, and the images with their platforms. */
function exportText({ plan, files, bytes }: ExportResult): string {
  const { images, draft } = plan;
  const [first = '', ...rest] = files;
  const one = first === STDOUT ? 'standard output' : first;
  const name = rest.length === 0 ? one : `${first} to ${rest.at(-1)}`;
  const parts = [
    counted(images.length, 'image'),
    counted(draft.manifests.length, 'manifest'),
    counted(draft.blobs.length, 'blob'),
    ...(draft.base.length === 0 ? [] : [`${draft.base.length} left out by --since`]),
    humanBytes(bytes),
  ];
  const rows = images.map(({ image, platforms }) => {
    return `  ${image}${platforms.length === 0 ? '' : `  ${platforms.join(', ')}`}\n`;
  });
  return `${name}: ${parts.join(', ')}\n${rows.join('')}`;
}

export function exportJson({ plan, files, bytes }: ExportResult): string {
  const { images, draft, lacking, foreign } = plan;
  const summary = {
    files,
    bytes,
    images,
    manifests: draft.manifests.length,
    blobs: draft.blobs.length,
    base: draft.base.length,
    lacking,
    foreign,
  };
  return `${JSON.stringify(summary, undefined, 2)}\n`;
}

/** The parts that the bundle lacks. */
function exportNotes({ lacking, unmatched, foreign }: BundlePlan): string {
  const lines = lacking.flatMap(({ image, lacks }) => lacks.map((lack) => `${image}: ${lack}`));
  for (const { image, digest, size } of foreign) {
    lines.push(`${image}: foreign layer left out: ${digest}, ${humanBytes(size)}`);
  }
  for (const image of unmatched) lines.push(`${image}: no manifest for docker load; set --docker-platform`);
  return lines.map((line) => `${line}\n`).join('');
}

/** Smaller than any medium. */
const MIN_PART_BYTES = 65_536;
const ALL = 'all';

/**
 * Writes cached images into a bundle. It only reads, so it takes no lock and asks no server. If a named image is partial, the
 * exit code is 1 and no bundle is written, unless `--allow-incomplete` is set.
 */
export async function exportBundle(
  loaded: LoadedSettings,
  flags: Flags,
  words: readonly string[],
): Promise<ExitCode> {
  const { settings } = loaded;
  const path = outputOf(flags);
  const named = await namedImages(loaded, flags, words);
  const request = {
    audience: audienceOf(flags),
    withForeign: flags['foreign'] === true,
    has: await sinceOf(flags),
    dockerPlatform: platformIn(
      textIn(flags, 'dockerPlatform') ?? settings.defaultPlatform,
      '--docker-platform',
    ),
  };
  const key = await keyOf(flags);
  const partBytes = partBytesOf(flags, path);
  if (!(await hasData(settings.dataDir))) return nothingExported(named);
  return untilSignal((signal) =>
    readContent(settings.dataDir, async (content) => {
      const images = named ?? (await everything(content));
      if (images.length === 0) return nothingExported(named);
      const plan = await planBundle(images, { ...content, ...request, signal });
      printAside(exportNotes(plan));
      // Without named images, partial ones are left out.
      const isRefused = named !== undefined && plan.lacking.length > 0 && flags['allowIncomplete'] !== true;
      if (isRefused || plan.images.length === 0) {
        const lacking = `${plan.lacking.length} of ${counted(images.length, 'image')} partial or missing`;
        const advice = isRefused ? '; `pierhead warm` them, or use --allow-incomplete' : '';
        printAside(`pierhead: nothing exported: ${lacking}${advice}\n`);
        return 1;
      }
      const bundle = new Bundle(plan.draft, { read: (digest) => stored(content, digest), key });
      const files = await writeStream(shown(bundle, plan), { path, partBytes, signal });
      report({ plan, files, bytes: bundle.size }, flags);
      return 0;
    }),
  );
}

/** An empty cache is a failure only if images are named. */
function nothingExported(named: readonly ListedImage[] | undefined): ExitCode {
  printAside(`pierhead: nothing exported: ${whyNothing(named)}\n`);
  return named === undefined ? 0 : 1;
}

function whyNothing(named: readonly ListedImage[] | undefined): string {
  if (named === undefined) return 'no image is cached';
  return named.length === 0 ? 'no image was found' : `${counted(named.length, 'image')} missing`;
}

/** Undefined: the user names no images. */
async function namedImages(
  loaded: LoadedSettings,
  flags: Flags,
  words: readonly string[],
): Promise<ListedImage[] | undefined> {
  const path = textIn(flags, 'file');
  if (path === undefined) return words.length === 0 ? undefined : parseImageWords(words);
  const { images, problems, notes } = await readImageFile(path, fileOptions(loaded, flags));
  if (problems.length > 0) throw new SettingsError(problems);
  printNotes(notes);
  return [...parseImageWords(words), ...images.map(({ image }) => image)];
}

async function everything(content: StoredContent): Promise<ListedImage[]> {
  const images: ListedImage[] = [];
  for await (const image of content.images()) images.push(image);
  return images;
}

function audienceOf(flags: Flags): 'all' | Platform[] | undefined {
  const text = textIn(flags, 'platform');
  if (text === undefined) return undefined;
  return text === ALL ? ALL : text.split(',').map((each) => platformIn(each.trim(), '--platform'));
}

function platformIn(text: string, flag: string): Platform {
  const platform = parsePlatform(text);
  if (platform !== undefined) return platform;
  throw new SettingsError([`${flag}: ${JSON.stringify(text)} is not a platform; allowed: ${PLATFORM_FORM}`]);
}

async function sinceOf(flags: Flags): Promise<ReadonlySet<Digest>> {
  const path = textIn(flags, 'since');
  if (path === undefined) return new Set();
  try {
    return await blobsSince(path);
  } catch (error) {
    const reason = error instanceof BundleError ? error.message : `cannot read it (${readFailure(error)})`;
    throw new SettingsError([`--since: ${path}: ${reason}`]);
  }
}

async function keyOf(flags: Flags) {
  const path = textIn(flags, 'sign');
  if (path === undefined) return undefined;
  try {
    return parsePrivateKey(await readFile(path, 'utf8'));
  } catch (error) {
    const reason = error instanceof KeyError ? error.message : `cannot read it (${readFailure(error)})`;
    throw new SettingsError([`--sign: ${path}: ${reason}`]);
  }
}

function partBytesOf(flags: Flags, path: string): number | undefined {
  const text = textIn(flags, 'split');
  if (text === undefined) return undefined;
  if (path === STDOUT) throw new SettingsError(['--split: standard output has no parts; set a file with -o']);
  const size = sizeIn(text);
  if (size !== undefined && size >= MIN_PART_BYTES) return size;
  throw new SettingsError([
    `--split: ${JSON.stringify(text)} is not the size of a part; allowed: 64KiB or more, such as 4GB or 700MiB`,
  ]);
}

function sizeIn(text: string): number | undefined {
  try {
    const size = parseSize(text);
    return 'bytes' in size ? size.bytes : undefined;
  } catch (error) {
    if (error instanceof UnitError) return undefined;
    throw error;
  }
}

function textIn(flags: Flags, name: string): string | undefined {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
}

/** The export holds no lock, so a blob may be evicted before it is read. */
async function* stored({ files }: StoredContent, digest: Digest): AsyncGenerator<Buffer, void> {
  try {
    yield* files.read(digest);
  } catch (error) {
    if (readFailure(error) !== 'ENOENT') throw error;
    const what = `${digest} was removed from the cache during the export; pin the images and export again`;
    throw new BundleError('changed', what, error);
  }
}

/** The bytes of the bundle, with progress on standard error. */
async function* shown(bundle: Bundle, plan: BundlePlan): AsyncGenerator<Buffer, void> {
  const progress = new Progress(process.stderr);
  const total = bundle.size;
  let bytes = 0;
  try {
    for await (const chunk of bundle.bytes()) {
      yield chunk;
      bytes += chunk.length;
      const done = `${humanBytes(bytes)} of ${humanBytes(total)}`;
      progress.show(bytes / total, `${counted(plan.images.length, 'image')}, ${done}`);
    }
  } finally {
    progress.clear();
  }
}

function report(result: ExportResult, flags: Flags): void {
  const isPiped = result.files.includes(STDOUT);
  const text = flags['json'] === true ? exportJson(result) : exportText(result);
  (isPiped ? printAside : print)(text);
}
