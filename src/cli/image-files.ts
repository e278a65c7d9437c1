import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { knownPlatforms } from '../app/app.ts';
import type { Flags } from '../config/flags.ts';
import type { LoadedSettings } from '../config/load.ts';
import { parseDotenv, InterpolationError } from '../image-files/interpolation.ts';
import { changedImage, KUSTOMIZATION_NAMES } from '../image-files/kustomization.ts';
import {
  ListError,
  quoted,
  listedAt,
  type FurtherFile,
  type ImageSource,
  type NeededImage,
  type SourceContext,
} from '../image-files/needed.ts';
import { readImageSource } from '../image-files/source.ts';
import { systemReason } from '../lib/errors.ts';
import { formatListedImage, type ListedImage } from '../oci/image-name.ts';
import { parsePlatform } from '../oci/platform.ts';
import { type ImagesRequest, OperationError } from '../operations/protocol.ts';
import { printAside } from './print.ts';

/**
 * Decodes UTF-8, or UTF-16 with a byte order mark, which is left out (WHATWG Encoding Standard, "BOM sniff"). Undefined if
 * the text holds a NUL character.
 */
function decodeText(bytes: Buffer): string | undefined {
  const encoding = isMarked(bytes, 0xff, 0xfe)
    ? 'utf-16le'
    : isMarked(bytes, 0xfe, 0xff)
      ? 'utf-16be'
      : 'utf-8';
  const text = new TextDecoder(encoding).decode(bytes);
  return text.includes('\0') ? undefined : text;
}

function isMarked(bytes: Buffer, first: number, second: number): boolean {
  return bytes[0] === first && bytes[1] === second;
}

/** Far above the size of real lists. */
const MAX_MIB = 32;

/** Files that include each other. */
const MAX_FILES = 200;

/** A file may be misread: without images it is a failure. */
export const NOTHING_FOUND = 'no image was found; with --allow-empty this is no failure';

/** Flags of files, and the platforms of builds. */
export interface FileOptions extends Pick<SourceContext, 'platforms'> {
  readonly flags: Flags;
}

export function fileOptions({ settings }: LoadedSettings, flags: Flags): FileOptions {
  const { platforms: asked = [] } = platformsOf(flags);
  const platforms = asked.flatMap((text) => parsePlatform(text) ?? []);
  return { flags, platforms: platforms.length > 0 ? platforms : knownPlatforms(settings) };
}

/** An image in the arguments of a command. */
export function namedHere(image: ListedImage): NeededImage {
  return listedAt(image, 'named here');
}

/** The value of `--platform`. */
function platformsOf({ platform }: Flags): Pick<ImagesRequest, 'platforms'> {
  return typeof platform === 'string' ? { platforms: platform.split(',') } : {};
}

/** The request for `needed`, with the platforms of `--platform`, else those of the files. */
export function imagesRequest(needed: readonly NeededImage[], flags: Flags): ImagesRequest {
  const asked = platformsOf(flags);
  const images = needed.map(({ image, isMadeForPlatform }) =>
    formatListedImage(
      asked.platforms === undefined || isMadeForPlatform ? image : { ...image, platforms: [] },
    ),
  );
  return { images, ...asked };
}

/**
 * The images of a file and of the files that it includes. `-` is standard input; a folder stands for its kustomization.
 * Throws OperationError `usage`, which names file and line.
 */
export async function readImageFile(path: string, options: FileOptions): Promise<ImageSource> {
  const images: NeededImage[] = [];
  const problems: string[] = [];
  const notes: string[] = [];
  const context = await contextOf(path, options);
  const wanted: Wanted[] = [{ path, place: undefined }];
  const seen = new Set<string>();
  for (const each of wanted) {
    const { service, changes = [] } = each;
    const key = JSON.stringify([resolve(each.path), service, changes]);
    if (seen.has(key)) continue;
    seen.add(key);
    if (seen.size > MAX_FILES)
      throw new OperationError('usage', `${path} includes more than ${MAX_FILES} files`);
    const { source, file } = await readOne(each, context);
    for (const image of source.images) {
      const changed = changedImage(image, changes);
      if (changed === undefined)
        problems.push(`${image.place}: images of the kustomization makes a wrong name of it`);
      else images.push(changed);
    }
    problems.push(...source.problems);
    notes.push(...source.notes);
    wanted.push(
      ...source.further.map((next) => ({
        ...next,
        path: besides(file, next.path),
        changes: [...(next.changes ?? []), ...changes],
      })),
    );
  }
  return { images, problems, notes, further: [] };
}

/** The images of the file of `-f`. Throws OperationError `usage` if the file has a problem. */
export async function neededBy(
  path: string,
  loaded: LoadedSettings,
  flags: Flags,
): Promise<readonly NeededImage[]> {
  const { images, problems, notes } = await readImageFile(path, fileOptions(loaded, flags));
  const [problem] = problems;
  if (problem !== undefined) throw new OperationError('usage', problem);
  printNotes(notes);
  return images;
}

/** Prints the notes of an ImageSource. */
export function printNotes(notes: readonly string[]): void {
  for (const note of notes) printAside(`note: ${note}\n`);
}

/** Options of the file that the user names, and of all files that it includes. */
interface ReadContext extends Omit<SourceContext, 'variables'> {
  readonly envFiles: readonly string[];
}

async function contextOf(path: string, { flags, platforms }: FileOptions): Promise<ReadContext> {
  const folder = basename(resolve((await isDirectory(path)) ? path : dirname(path)));
  return { folder, platforms, buildArgs: buildArgsOf(flags), envFiles: listOf(flags['envFile']) };
}

function buildArgsOf(flags: Flags): ReadonlyMap<string, string> {
  return new Map(
    listOf(flags['buildArg']).flatMap((text) => {
      const at = text.indexOf('=');
      const name = at < 0 ? text : text.slice(0, at);
      if (!/^[A-Za-z_]\w*$/.test(name)) {
        throw new OperationError('usage', `--build-arg: ${quoted(text)} is not of the form name=value`);
      }
      const value = at < 0 ? process.env[name] : text.slice(at + 1);
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

function listOf(flag: Flags[string]): readonly string[] {
  return Array.isArray(flag) ? flag : [];
}

function besides(path: string, other: string): string {
  return isAbsolute(other) ? other : join(dirname(path), other);
}

type Wanted = Omit<FurtherFile, 'place'> & {
  /** Undefined: the user named the file. */
  readonly place: string | undefined;
};

async function readOne(
  wanted: Wanted,
  context: ReadContext,
): Promise<{ readonly source: ImageSource; readonly file: string }> {
  const { place, service } = wanted;
  try {
    const path = await fileAt(wanted.path);
    const text = await readText(path);
    const source = readImageSource({
      ...context,
      path: path === '-' ? 'standard input' : path,
      text,
      variables: await variablesFor(path, context.envFiles),
      service,
    });
    return { source, file: path };
  } catch (error) {
    const by = place === undefined ? '' : `${place}: `;
    if (!(error instanceof ListError || error instanceof OperationError)) throw error;
    throw new OperationError('usage', `${by}${error.message}`, error);
  }
}

/** `-` is standard input, even if there is a folder of this name. */
async function isDirectory(path: string): Promise<boolean> {
  return path !== '-' && (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/** The kustomization in a folder. */
export async function kustomizationIn(folder: string): Promise<string | undefined> {
  for (const name of KUSTOMIZATION_NAMES) {
    const file = join(folder, name);
    if ((await stat(file).catch(() => undefined))?.isFile() === true) return file;
  }
  return undefined;
}

/** The file itself, or the kustomization in a folder. */
async function fileAt(path: string): Promise<string> {
  if (!(await isDirectory(path))) return path;
  const file = await kustomizationIn(path);
  if (file !== undefined) return file;
  throw new OperationError(
    'usage',
    `${path} is a folder without a ${KUSTOMIZATION_NAMES[0]}; name its files`,
  );
}

async function readText(path: string): Promise<string> {
  const bytes = path === '-' ? await buffer(process.stdin) : await readBytes(path);
  if (bytes.length > MAX_MIB * 1024 * 1024) throw new ListError(`${path} is larger than ${MAX_MIB} MiB`);
  const text = decodeText(bytes);
  if (text === undefined) throw new ListError(`${path} is not a text in UTF-8 or UTF-16`);
  return text;
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new OperationError('usage', `cannot read ${path}: ${systemReason(error)}`, error);
  }
}

/**
 * The variables that Compose uses: the environment, then the files of `--env-file`, the last one first. Without `--env-file`,
 * the file `.env` in the same folder.
 */
async function variablesFor(
  path: string,
  envFiles: readonly string[],
): Promise<(name: string) => string | undefined> {
  const environment = (name: string): string | undefined => process.env[name];
  const files = envFiles.length > 0 ? envFiles : path === '-' ? [] : [join(dirname(path), '.env')];
  const values = new Map<string, string>();
  for (const file of files) {
    const text = envFiles.length > 0 ? await readText(file) : await readText(file).catch(() => '');
    try {
      for (const [name, value] of parseDotenv(text, (each) => environment(each) ?? values.get(each))) {
        values.set(name, value);
      }
    } catch (error) {
      if (!(error instanceof InterpolationError)) throw error;
      throw new ListError(`${file}: ${error.message}`);
    }
  }
  return (name) => environment(name) ?? values.get(name);
}
