import { setTimeout as delay } from 'node:timers/promises';
import { runningTime } from '../../lib/clock.ts';
import { deferred } from '../../lib/promises.ts';
import type { Answer } from '../connect/answer.ts';
import { retryAfterMs } from '../connect/headers.ts';
import { isLostConnection } from '../connect/network-failure.ts';
import type { Transport, TransportRequest } from '../connect/transport.ts';
import { UpstreamFailure } from '../upstream.ts';

/** Late enough that a response is overdue, and early enough for a second request before a client gives up. */
const SECOND_AFTER_MS = 3000;
/** Pause between two looks whether the server answers other requests. */
const LOOK_EVERY_MS = 500;
/** With less time left, a second request would rarely be answered. */
const MIN_LEFT_MS = 1000;

export interface SecondTryOptions {
  /**
   * True if the server has answered any request since this one was sent. If not, it is unreachable and gets no second
   * request.
   */
  readonly answersOthers: () => boolean;
  /** Called before the second request, which may count as a pull. */
  readonly onSecond?: (() => void) | undefined;
}

/**
 * Sends a request, and a second one if no response comes from a server that answers others. Requests get lost: in a
 * balancer whose backend is gone, or on a connection that a firewall forgot. The first request goes on, since it may
 * only be slow. The first response counts; the other connection is closed.
 */
export class SecondTry {
  readonly #transport: Transport;
  readonly #options: SecondTryOptions;
  #isUsed = false;

  constructor(transport: Transport, options: SecondTryOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  /** Throws the error of the try that failed last. */
  async send(request: TransportRequest): Promise<Answer> {
    const { limit, url } = request;
    const answer = deferred<Answer>();
    const over = new AbortController();
    let running = 0;
    let isAnswered = false;
    const begin = (): void => {
      running++;
      const part = limit.part(over.signal);
      const sent = this.#transport.send({ ...request, limit: part });
      sent.then(
        (value) => {
          if (isAnswered || over.signal.aborted) value.body.close();
          isAnswered = true;
          answer.resolve(value);
        },
        (error: unknown) => {
          running--;
          if (running === 0) answer.reject(error);
        },
      );
      sent.finally(() => part.end()).catch(() => undefined);
    };
    const stopLooking = this.#whenLost(request, begin);
    begin();
    try {
      return await limit.wait(answer.promise, url.host);
    } catch (error) {
      // A response may have come at the same moment.
      void answer.promise.then(
        ({ body }) => body.close(),
        () => undefined,
      );
      throw error;
    } finally {
      stopLooking();
      over.abort();
    }
  }

  /** Calls `again` at most once, when the request is taken for lost. The returned function cancels. */
  #whenLost({ limit }: TransportRequest, again: () => void): () => void {
    const { answersOthers, onSecond } = this.#options;
    const look = (): void => {
      if (this.#isUsed || limit.remainingMs < MIN_LEFT_MS) return;
      if (!answersOthers()) {
        timer = runningTime.timer(LOOK_EVERY_MS, look);
        return;
      }
      this.#isUsed = true;
      onSecond?.();
      again();
    };
    let timer = runningTime.timer(SECOND_AFTER_MS, look);
    return () => timer.stop();
  }
}

const MAX_TRIES = 3;
const FIRST_PAUSE_MS = 150;
const PAUSE_GROWTH = 3;

/**
 * Sends a request, and again after a pause if that helps: the connection was lost before a response (a server may end
 * an idle one at any time), or a gateway had no backend (502, 503, 504). At most three tries within the limit; the
 * last result counts. A request without a response gets a second one beside it (`SecondTry`). Never after a refused
 * connection or another response.
 */
export async function sendPatiently(
  transport: Transport,
  request: TransportRequest,
  options: SecondTryOptions,
): Promise<Answer> {
  const { limit, url } = request;
  const second = new SecondTry(transport, options);
  for (let tries = 1; ; tries++) {
    const result = await second.send(request).catch(lostConnection);
    const isFailure = result instanceof UpstreamFailure;
    const pauseMs = backOffMs(tries, isFailure ? undefined : retryAfterMs(result.headers));
    const isLast = tries === MAX_TRIES || pauseMs >= limit.remainingMs;
    if (isFailure) {
      if (isLast) throw result;
      // The server may end all idle connections of that age, and there are fewer tries than connections.
      transport.endIdle(url);
    } else {
      if (isLast || ![502, 503, 504].includes(result.status)) return result;
      await result.body.discard();
    }
    await limit.wait(delay(pauseMs), url.host);
  }
}

function lostConnection(error: unknown): UpstreamFailure {
  if (error instanceof UpstreamFailure && isLostConnection(error.cause)) return error;
  throw error;
}

/** Half of the pause is random, so that many clients that failed together do not return together. */
function backOffMs(tries: number, retryAfter = 0): number {
  const pauseMs = FIRST_PAUSE_MS * PAUSE_GROWTH ** (tries - 1);
  return Math.max(pauseMs * (0.5 + Math.random()), retryAfter);
}
