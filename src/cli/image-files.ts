import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { parseDotenv } from '../bundle/dotenv.ts';
import { readImageSource } from '../bundle/image-source.ts';
import { ListError } from '../bundle/list-error.ts';
import type { ImageSource } from '../bundle/needed-images.ts';
import { OperationError } from '../pull/operations.ts';

/** Larger ones are no lists of images. */
const MAX_BYTES = 32 * 1024 * 1024;

/** What a file needs of images; `-` is standard input. Throws OperationError `usage`, which names file and line. */
export async function readImageFile(path: string): Promise<ImageSource> {
  try {
    const text = await readText(path);
    if (text.length > MAX_BYTES) throw new ListError(`${path} is too large to be a list of images`);
    return readImageSource({
      path: path === '-' ? 'standard input' : path,
      text,
      variables: await variablesFor(path),
    });
  } catch (error) {
    if (!(error instanceof ListError)) throw error;
    throw new OperationError('usage', error.message, error);
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
  const text = await readFile(join(dirname(path), '.env'), 'utf8').catch(() => '');
  const values = parseDotenv(text, environment);
  return (name) => environment(name) ?? values.get(name);
}
