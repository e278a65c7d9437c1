import { setTimeout as delay } from 'node:timers/promises';
import type { Digest } from '../oci/digest.ts';
import { BodyBrokenError, type BlobStream, type Outcome, failureReason } from '../upstream/upstream.ts';
import { BlobBodyError } from './errors.ts';
import type { FillProgress } from './progress.ts';

/** Attempts in a row that may break off without a new byte. */
const MAX_FRUITLESS_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 4000;

/**
 * Opens a new request with fresh tokens and redirects, for the bytes from `offset` on, up to `end` if that is known.
 * Rejects with the reason of `signal` if that is aborted.
 */
export type OpenBlob = (
  offset: number,
  end: number | undefined,
  signal?: AbortSignal,
) => Promise<Outcome<BlobStream>>;

export interface BytesRequest {
  readonly digest: Digest;
  readonly start: number;
  /**
   * Where to stop, exclusive; undefined: at the end of the body. Called again and again, since the limit may come
   * nearer.
   */
  readonly limit: () => number | undefined;
  readonly open: OpenBlob;
  /** A response from `start` on, if one is open already. */
  readonly first?: BlobStream | undefined;
  readonly signal: AbortSignal;
  /** True if a response from the start of the blob may be used; the bytes before the position are then dropped. */
  readonly maySkip: () => boolean;
}

/** The upstream ignored a range and sent the whole blob. */
export class RangeIgnoredError extends Error {
  override readonly name = 'RangeIgnoredError';
  readonly code = 'range-ignored';
}

/**
 * The bytes of a blob from `start` to `limit`. A response that breaks off, stalls or is short is followed by a new
 * request from that byte. Ends early, without an error, when `signal` is aborted. Throws BlobBodyError `broken` after
 * five attempts in a row without a new byte.
 */
export async function* upstreamBytes(request: BytesRequest): AsyncGenerator<Buffer, void> {
  const { digest, limit, signal } = request;
  let position = request.start;
  let stream = request.first;
  const stop = (): void => stream?.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (let fruitless = 0; !signal.aborted && !isReached(position, limit());) {
      const before = position;
      try {
        stream ??= await reopen(request, position, fruitless);
        // The consumer may have left during `reopen`, and would not close this stream.
        if (signal.aborted) return;
        if (stream.offset !== position && !request.maySkip()) throw new RangeIgnoredError();
        let known = position - stream.offset;
        // No generator of its own: each one costs several promises for every chunk.
        for await (const chunk of stream.body) {
          const skipped = Math.min(known, chunk.length);
          known -= skipped;
          const fresh = chunk.subarray(skipped, skipped + (limit() ?? Infinity) - position);
          position += fresh.length;
          if (fresh.length > 0) yield fresh;
          if (signal.aborted || isReached(position, limit())) return;
        }
        const end = limit();
        if (end === undefined || signal.aborted) return;
        throw new BodyBrokenError('short', `the body of ${digest} ended after ${position} of ${end} bytes`);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof BodyBrokenError)) throw error;
        fruitless = position > before ? 0 : fruitless + 1;
        if (fruitless >= MAX_FRUITLESS_ATTEMPTS) {
          throw new BlobBodyError('broken', `gave up on ${digest}: ${error.message}`, error);
        }
      } finally {
        stream?.close();
        stream = undefined;
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    stream?.close();
  }
}

async function reopen(request: BytesRequest, position: number, fruitless: number): Promise<BlobStream> {
  const { signal, limit, open } = request;
  if (position > request.start || request.first !== undefined || fruitless > 0) {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** fruitless, MAX_PAUSE_MS) * (0.75 + Math.random() / 2);
    await delay(pauseMs, undefined, { signal });
  }
  const outcome = await open(position, limit(), signal);
  if (outcome.kind !== 'ok') throw new BodyBrokenError('cut', failureReason(outcome, 'the upstream'));
  return outcome.value;
}

function isReached(position: number, limit: number | undefined): boolean {
  return limit !== undefined && position >= limit;
}

export interface FillUpstreamOptions {
  readonly digest: Digest;
  readonly progress: FillProgress;
  readonly open: OpenBlob;
  /** Called when the blob turns out to be encoded, so that only downloads from its start work. */
  readonly onDecoded: () => void;
}

/** Opens responses for a fill and its readers, and checks each against the known size. */
export class FillUpstream {
  readonly #options: FillUpstreamOptions;
  #isDecoded = false;
  #hasToldSize = false;
  #wasContradicted = false;

  constructor(options: FillUpstreamOptions) {
    this.#options = options;
  }

  /** A proxy encodes the blob, and an encoded body has no ranges. */
  get isDecoded(): boolean {
    return this.#isDecoded;
  }

  /** True if the upstream stated the size; a manifest's word alone does not count. */
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
    const reason = `the upstream says that ${digest} has ${totalSize} bytes, but its known size is ${size}`;
    return { kind: 'unavailable', cause: 'not-a-registry', reason };
  };

  /**
   * Opens the first response, for the `missing` bytes. If the upstream cannot serve that range, or contradicts the
   * known size, opens the whole blob: the next redirect may lead to a host that has it right.
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
