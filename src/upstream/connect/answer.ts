import { runningTime, type RunningTimer } from '../../lib/clock.ts';
import { append } from '../../lib/receive-buffers.ts';
import { type AnswerHeaders, unavailable } from '../upstream.ts';
import { contentCodings, decodedWhole } from './content-coding.ts';
import { contentLength } from './headers.ts';
import { bodyFailure } from './network-failure.ts';
import type { TimeLimit } from './time-limit.ts';

/** Queued bytes at which reading pauses. A connection delivers up to 256 KiB at a time. */
const PAUSE_AT_BYTES = 1024 * 1024;
const RESUME_AT_BYTES = 512 * 1024;
/** A shorter rest that comes at once is read, so that the connection can be reused; else the connection is closed. */
const MAX_DISCARDED_BYTES = 64 * 1024;
const DISCARD_WITHIN_MS = 250;

/** The connection of a body. */
export interface BodySource {
  pause(): void;
  resume(): void;
  abort(reason: Error): void;
}

/** The server sent nothing for too long. */
class StalledBodyError extends Error {
  override readonly name = 'StalledBodyError';
  readonly code = 'ERR_BODY_STALLED';
}

/** A waiting call of `next`. */
interface Reader {
  readonly resolve: (result: IteratorResult<Buffer, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The body of a response: a queue between the parser and one reader, which slows the connection if the reader is
 * slow. Bytes before a break are delivered before its error is thrown; Node's Readable drops them.
 */
export class AnswerBody implements AsyncIterable<Buffer> {
  readonly #source: BodySource;
  readonly #chunks: Buffer[] = [];
  #queuedBytes = 0;
  #isPaused = false;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #error: unknown;
  #reader: Reader | undefined;
  /** The bytes of one turn of the event loop become one chunk: TLS alone delivers 16 KiB at a time. */
  #answerSoon: NodeJS.Immediate | undefined;
  readonly #idleTimeoutMs: number | undefined;
  /** A pause does not count: in it, the server is not the one that is silent. */
  #silence: RunningTimer | undefined;

  /** The body fails if its source sends nothing for `idleTimeoutMs`. */
  constructor(source: BodySource, idleTimeoutMs?: number) {
    this.#source = source;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#awaitBytes();
  }

  push(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    this.#silence?.restart();
    append(this.#chunks, chunk);
    this.#queuedBytes += chunk.length;
    this.#answerSoon ??= setImmediate(() => {
      this.#answerSoon = undefined;
      this.#answer();
    });
    if (this.#queuedBytes < PAUSE_AT_BYTES || this.#isPaused) return;
    this.#isPaused = true;
    this.#source.pause();
  }

  finish(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#silence?.stop();
    if (this.#chunks.length === 0) this.#answer();
  }

  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#silence?.stop();
    this.#error = error;
    if (this.#chunks.length === 0) this.#answer();
  }

  /**
   * Ends the body and, if it was incomplete, its connection. A waiting reader gets an error. Safe to call more than
   * once.
   */
  close(): void {
    const wasOpen = this.#state === 'open';
    const error = new Error('the body was closed');
    this.#chunks.length = 0;
    this.fail(error);
    this.#state = 'failed';
    this.#error ??= error;
    this.#answer();
    if (wasOpen) this.#source.abort(error);
  }

  /** Drops an unneeded body, and keeps its connection if that is cheap. */
  async discard(): Promise<void> {
    const timer = setTimeout(() => this.close(), DISCARD_WITHIN_MS);
    try {
      let discarded = 0;
      for await (const chunk of this) {
        discarded += chunk.length;
        if (discarded > MAX_DISCARDED_BYTES) break;
      }
    } catch {
      // A failed body needs no dropping.
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    return {
      next: () => this.#next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #next(): Promise<IteratorResult<Buffer, undefined>> {
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
      if (this.#answerSoon === undefined) this.#answer();
    });
  }

  /** Gives the waiting reader what there is for it. */
  #answer(): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    const chunk = this.#chunks.shift();
    if (chunk === undefined && this.#state === 'open') return;
    this.#reader = undefined;
    if (chunk !== undefined) {
      this.#release(chunk.length);
      reader.resolve({ done: false, value: chunk });
    } else if (this.#state === 'failed') reader.reject(this.#error);
    else reader.resolve({ done: true, value: undefined });
  }

  #release(bytes: number): void {
    this.#queuedBytes -= bytes;
    if (!this.#isPaused || this.#queuedBytes > RESUME_AT_BYTES || this.#state !== 'open') return;
    this.#isPaused = false;
    this.#silence?.restart();
    this.#source.resume();
  }

  #awaitBytes(): void {
    if (this.#idleTimeoutMs === undefined) return;
    this.#silence = runningTime.timer(this.#idleTimeoutMs, () => {
      if (this.#isPaused) {
        this.#awaitBytes();
        return;
      }
      const error = new StalledBodyError('the body has paused for too long');
      this.fail(error);
      this.#source.abort(error);
    });
  }
}

/** The head of a response, with its body to be read, discarded or closed. */
export interface Answer {
  /** The URL that answered, after redirects. */
  readonly url: URL;
  readonly status: number;
  readonly headers: AnswerHeaders;
  readonly body: AnswerBody;
}

/**
 * The whole body, decoded if it is encoded. Throws UpstreamFailure if it exceeds `maxBytes`, breaks off, is shorter
 * than its `Content-Length`, or takes longer than `limit`.
 */
export async function readWhole(
  answer: Answer,
  options: { readonly maxBytes: number; readonly limit: TimeLimit },
): Promise<Buffer> {
  const { maxBytes, limit } = options;
  const { host } = answer.url;
  try {
    if ((contentLength(answer.headers) ?? 0) > maxBytes) throw tooLong(host, maxBytes);
    const sent = await limit.wait(collect(answer, maxBytes), host);
    const body = await decodedWhole(sent, contentCodings(answer.headers), maxBytes);
    if (body === undefined) throw tooLong(host, maxBytes);
    return body;
  } catch (error) {
    answer.body.close();
    throw error;
  }
}

async function collect(answer: Answer, maxBytes: number): Promise<Buffer> {
  const { host } = answer.url;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer.body) {
      bytes += chunk.length;
      if (bytes > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw bodyFailure(error, host);
  }
  if (bytes > maxBytes) throw tooLong(host, maxBytes);
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
}

function tooLong(host: string, maxBytes: number): Error {
  return unavailable('not-a-registry', `${host} sent more than ${maxBytes} bytes`);
}
