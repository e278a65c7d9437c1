import { withinMs } from '../lib/deadline.ts';
import type { BlobBody } from './blob-body.ts';
import type { BlobFill } from './blob-fill.ts';

/** By when headers go out although the fill still waits for its turn, and by when in any case. */
const EARLY_HEADERS_MS = 4000;
const LATEST_HEADERS_MS = 9500;

/**
 * A body that follows the fill, when it can be read; undefined if the fill is over by then. Its client counts as a reader
 * while it waits. Throws what the start of the fill does.
 */
export async function followed(
  fill: BlobFill,
  cache: 'stored' | 'collapsed',
  client: string,
): Promise<BlobBody | undefined> {
  if (fill.isOver) return undefined;
  const body = fill.join(cache, client);
  try {
    await readyToRead(fill);
    if (!fill.isOver) return body;
  } catch (error) {
    body.close();
    throw error;
  }
  body.close();
  return undefined;
}

/**
 * Resolves when bodies that follow the fill can be read: upstream has answered, or it takes so long that headers have
 * to go out, for which the size must be known. Throws what the start of the fill does.
 */
async function readyToRead(fill: BlobFill): Promise<void> {
  await withinMs(fill.started, EARLY_HEADERS_MS);
  if (fill.isQueued && fill.size !== undefined) return;
  await withinMs(fill.started, LATEST_HEADERS_MS - EARLY_HEADERS_MS);
  if (fill.size === undefined) await fill.started;
}
