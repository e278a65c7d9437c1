import { setTimeout as delay } from 'node:timers/promises';
import { retryAfterMs } from './answer-headers.ts';
import type { Answer } from './answer.ts';
import { isLostConnection } from './network-failure.ts';
import { UpstreamFailure } from './outcome.ts';
import { SecondTry, type SecondTryOptions } from './second-try.ts';
import type { Transport, TransportRequest } from './transport.ts';

const MAX_TRIES = 3;
const FIRST_PAUSE_MS = 150;
const PAUSE_GROWTH = 3;

/**
 * Sends a request, and again after a pause where that helps: the connection was lost before an answer (a server may
 * end an idle one at any time), or a gateway found nobody behind it (502, 503, 504). Three tries at most, within the
 * limit; the last result counts. One that goes unanswered is sent a second time beside the first (second-try.ts).
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
