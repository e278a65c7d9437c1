import { readFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { parseDotenv } from '../bundle/dotenv.ts';
import { readImageSource } from '../bundle/image-source.ts';
import { UnsetVariableError } from '../bundle/interpolation.ts';
import { ListError } from '../bundle/list-error.ts';
import type { FurtherFile, ImageSource, NeededImage } from '../bundle/needed-images.ts';
import { OperationError } from '../pull/operations.ts';

/** Larger ones are no lists of images. */
const MAX_BYTES = 32 * 1024 * 1024;

/** What a file includes that includes something: nobody has more. */
const MAX_FILES = 200;

/**
 * What a file needs of images, with what is part of it in other files; `-` is standard input. Throws OperationError
 * `usage`, which names file and line.
 */
export async function readImageFile(path: string): Promise<ImageSource> {
  const images: NeededImage[] = [];
  const problems: string[] = [];
  const wanted: Wanted[] = [{ path, place: undefined, service: undefined }];
  const seen = new Set<string>();
  for (const each of wanted) {
    const key = JSON.stringify([resolve(each.path), each.service]);
    if (seen.has(key)) continue;
    seen.add(key);
    if (seen.size > MAX_FILES)
      throw new OperationError('usage', `${path} goes on in more than ${MAX_FILES} files`);
    const source = await readOne(each);
    images.push(...source.images);
    problems.push(...source.problems);
    wanted.push(...source.further.map((next) => ({ ...next, path: besides(each.path, next.path) })));
  }
  return { images, problems, further: [] };
}

function besides(path: string, other: string): string {
  return isAbsolute(other) ? other : join(dirname(path), other);
}

type Wanted = Omit<FurtherFile, 'place'> & {
  /** Undefined: the user names it. */
  readonly place: string | undefined;
};

async function readOne({ path, place, service }: Wanted): Promise<ImageSource> {
  try {
    const text = await readText(path);
    if (text.length > MAX_BYTES) throw new ListError(`${path} is too large to be a list of images`);
    return readImageSource({
      path: path === '-' ? 'standard input' : path,
      text,
      variables: await variablesFor(path),
      service,
    });
  } catch (error) {
    const by = place === undefined ? '' : `${place}: `;
    if (!(error instanceof ListError || error instanceof OperationError)) throw error;
    throw new OperationError('usage', `${by}${error.message}`, error);
  }
}

async function readText(path: string): Promise<string> {
  if (path === '-') return textOf(process.stdin);
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OperationError('usage', `${path} cannot be read: ${reason}`, error);
  }
}

/** As Compose has them: the environment, and for what is not in it the `.env` file beside the file. */
async function variablesFor(path: string): Promise<(name: string) => string | undefined> {
  const environment = (name: string): string | undefined => process.env[name];
  if (path === '-' || basename(path) === '.env') return environment;
  const beside = join(dirname(path), '.env');
  const text = await readFile(beside, 'utf8').catch(() => '');
  try {
    const values = parseDotenv(text, environment);
    return (name) => environment(name) ?? values.get(name);
  } catch (error) {
    if (!(error instanceof UnsetVariableError)) throw error;
    throw new ListError(`${beside}: ${error.message}`);
  }
}
