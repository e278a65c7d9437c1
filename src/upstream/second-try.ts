import { deferred } from '../lib/deferred.ts';
import { runningTime } from '../lib/running-time.ts';
import type { Answer } from './answer.ts';
import type { Transport, TransportRequest } from './transport.ts';

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
