import { setTimeout as delay } from 'node:timers/promises';
import type { Digest } from '../oci/digest.ts';
import { BodyBrokenError, type BlobStream, type Outcome, failureReason } from '../upstream/upstream.ts';
import { BlobBodyError } from './errors.ts';
import type { FillProgress } from './progress.ts';

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

export interface FillUpstreamOptions {
  readonly digest: Digest;
  readonly progress: FillProgress;
  readonly open: OpenBlob;
  /** Told when the blob turns out to be had from its start only. */
  readonly onDecoded: () => void;
}

/** Upstream, as a fill and its readers ask it: what it says of the blob has to agree with what is known. */
export class FillUpstream {
  readonly #options: FillUpstreamOptions;
  #isDecoded = false;
  #hasToldSize = false;
  #wasContradicted = false;

  constructor(options: FillUpstreamOptions) {
    this.#options = options;
  }

  /** Somebody on the way encodes the blob, and there is no way into the middle of that. */
  get isDecoded(): boolean {
    return this.#isDecoded;
  }

  /** The size is upstream's own word, and not just that of a manifest. */
  get hasToldSize(): boolean {
    return this.#hasToldSize;
  }

  readonly open: OpenBlob = async (offset, end, signal) => {
    const { digest, progress, open, onDecoded } = this.#options;
    const from = this.#isDecoded ? 0 : offset;
    const to = this.#isDecoded || end === progress.size ? undefined : end;
    const outcome = await open(from, to, signal);
    if (outcome.kind !== 'ok') return outcome;
    const { totalSize, isDecoded } = outcome.value;
    this.#isDecoded ||= isDecoded;
    if (isDecoded) onDecoded();
    const { size } = progress;
    const isContradiction = size !== undefined && totalSize !== undefined && totalSize !== size;
    if (!isContradiction) {
      this.#hasToldSize ||= totalSize !== undefined;
      return outcome;
    }
    this.#wasContradicted = true;
    outcome.value.close();
    const reason = `upstream says that ${digest} has ${totalSize} bytes, which is known to have ${size}`;
    return { kind: 'unavailable', cause: 'not-a-registry', reason };
  };

  /**
   * For the first answer, `missing` of an earlier attempt; the whole from an upstream that cannot give just that, or
   * whose answer is not the blob that is known: the next redirect may lead to a host that has it right.
   */
  async first(
    missing: { readonly start: number; readonly end?: number },
    signal: AbortSignal,
  ): Promise<Outcome<BlobStream>> {
    const outcome = await this.open(missing.start, missing.end, signal);
    const isRefused = outcome.kind === 'unavailable' && outcome.cause === 'not-a-registry';
    return isRefused && (missing.start > 0 || this.#wasContradicted)
      ? this.open(0, undefined, signal)
      : outcome;
  }
}
