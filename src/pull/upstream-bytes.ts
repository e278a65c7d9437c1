import { setTimeout as delay } from 'node:timers/promises';
import type { Digest } from '../oci/digest.ts';
import { BodyBrokenError, type BlobStream, type Outcome } from '../upstream/upstream.ts';
import { BlobBodyError } from './blob-body.ts';
import { failureReason } from './outcome-error.ts';

/** Upstream may break off this often in a row without a byte of progress. */
const MAX_FRUITLESS_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 4000;

/**
 * Asks upstream anew, on fresh tokens and redirects, for the bytes from `offset` on; up to `end` if that is known.
 * Rejects with the reason of `signal` when that ends it.
 */
export type OpenBlob = (
  offset: number,
  end: number | undefined,
  signal?: AbortSignal,
) => Promise<Outcome<BlobStream>>;

export interface BytesRequest {
  readonly digest: Digest;
  readonly start: number;
  /** Where to stop, exclusive. It is asked again and again, since it may come nearer; undefined: at the end of the body. */
  readonly limit: () => number | undefined;
  readonly open: OpenBlob;
  /** Upstream's answer from `start` on, if it was asked already. */
  readonly first?: BlobStream;
  readonly signal: AbortSignal;
  /** Whether to go on although upstream sends from the start of the blob: what comes before is then thrown away. */
  readonly maySkip: () => boolean;
}

/** Upstream sends the whole blob to whoever asks for a part of it. */
export class RangeIgnoredError extends Error {
  override readonly name = 'RangeIgnoredError';
  readonly code = 'range-ignored';
}

/**
 * The bytes of a blob from `start` to `limit`, whatever breaks in between: an answer that breaks off, stalls or is
 * short is followed by another one from where it was. Ends early, without an error, when `signal` is aborted.
 * Throws BlobBodyError `broken` when upstream gives nothing any more, and `corrupt` when it gives too much.
 */
export async function* upstreamBytes(request: BytesRequest): AsyncGenerator<Buffer, void> {
  const { digest, limit, signal } = request;
  const progress = { position: request.start };
  let stream = request.first;
  if (signal.aborted || isReached(progress.position, limit())) stream?.close();
  for (let fruitless = 0; !signal.aborted && !isReached(progress.position, limit());) {
    const before = progress.position;
    try {
      stream ??= await reopen(request, progress.position, fruitless);
      // Whoever has gone asks for no further chunk, and so nobody would close a stream that came too late.
      if (signal.aborted) return;
      yield* bytesOf(request, stream, progress);
      if (limit() === undefined) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof BodyBrokenError)) throw error;
      fruitless = progress.position > before ? 0 : fruitless + 1;
      if (fruitless >= MAX_FRUITLESS_ATTEMPTS) {
        throw new BlobBodyError('broken', `gave up on ${digest}: ${error.message}`, error);
      }
    } finally {
      stream?.close();
      stream = undefined;
    }
  }
}

/** What one answer gives of the bytes that are still missing. */
async function* bytesOf(
  { digest, limit, signal, maySkip }: BytesRequest,
  stream: BlobStream,
  progress: { position: number },
): AsyncGenerator<Buffer, void> {
  if (stream.offset !== progress.position && !maySkip()) throw new RangeIgnoredError();
  const stop = (): void => stream.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    let at = stream.offset;
    for await (const chunk of stream.body) {
      const known = Math.min(progress.position - at, chunk.length);
      at += chunk.length;
      const left = (limit() ?? Infinity) - progress.position;
      const fresh = chunk.subarray(known, known + left);
      progress.position += fresh.length;
      if (fresh.length > 0) yield fresh;
      if (isReached(progress.position, limit())) return;
      if (signal.aborted) return;
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
  const end = limit();
  if (end !== undefined && progress.position < end) {
    throw new BodyBrokenError('short', `upstream sent ${progress.position} of ${end} bytes of ${digest}`);
  }
}

async function reopen(request: BytesRequest, position: number, fruitless: number): Promise<BlobStream> {
  const { signal, limit, open } = request;
  if (position > request.start || request.first !== undefined || fruitless > 0) {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** fruitless, MAX_PAUSE_MS) * (0.75 + Math.random() / 2);
    await delay(pauseMs, undefined, { signal });
  }
  const outcome = await open(position, limit(), signal);
  if (outcome.kind !== 'ok') throw new BodyBrokenError('cut', failureReason(outcome, 'upstream'));
  return outcome.value;
}

function isReached(position: number, limit: number | undefined): boolean {
  return limit !== undefined && position >= limit;
}
