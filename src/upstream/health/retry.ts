import { setTimeout as delay } from 'node:timers/promises';
import { runningTime } from '../../lib/clock.ts';
import { deferred } from '../../lib/promises.ts';
import type { Answer } from '../connect/answer.ts';
import { retryAfterMs } from '../connect/headers.ts';
import { isLostConnection } from '../connect/network-failure.ts';
import type { Transport, TransportRequest } from '../connect/transport.ts';
import { UpstreamFailure } from '../upstream.ts';

/** Long after an answer is due, and so early that a second request has its time before a client loses patience. */
const SECOND_AFTER_MS = 3000;
/** How often it is looked whether the server answers others meanwhile. */
const LOOK_EVERY_MS = 500;
/** With less time left a second request would hardly be answered. */
const MIN_LEFT_MS = 1000;

export interface SecondTryOptions {
  /** Whether the server has answered anything since the request was sent. If not, it is away, and not to be asked more. */
  readonly answersOthers: () => boolean;
  /** Told before the request is sent once more: it may count as a pull. */
  readonly onSecond?: (() => void) | undefined;
}

/**
 * Sends a request, and once more if no answer comes from a server that answers others: requests get lost, in a balancer
 * whose backend is gone or on a connection that a firewall has forgotten. The first one is not given up for that, since
 * it may only be slow; whichever is answered first counts, and the other one's connection is closed.
 */
export class SecondTry {
  readonly #transport: Transport;
  readonly #options: SecondTryOptions;
  #isUsed = false;

  constructor(transport: Transport, options: SecondTryOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  /** Throws what came of the try that failed last. */
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
      // One may have come at the same moment.
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

  /** Calls `again` once, if ever, when the request is taken for lost; the function that it gives ends that. */
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
 * Sends a request, and again after a pause where that helps: the connection was lost before an answer (a server may
 * end an idle one at any time), or a gateway found nobody behind it (502, 503, 504). Three tries at most, within the
 * limit; the last result counts. One that goes unanswered is sent a second time beside the first.
 * Never after a refused connection or any other answer.
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
      // Who ended this one may end all that are as old, and there are fewer tries than connections.
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

/** Half of it random, so that many who failed together do not come back together. */
function backOffMs(tries: number, retryAfter = 0): number {
  const pauseMs = FIRST_PAUSE_MS * PAUSE_GROWTH ** (tries - 1);
  return Math.max(pauseMs * (0.5 + Math.random()), retryAfter);
}
