import type { ClientRequest, IncomingMessage } from 'node:http';
import { runningTime } from '../../lib/clock.ts';
import { deferred } from '../../lib/promises.ts';
import type { AnswerHeaders } from '../upstream.ts';
import { AnswerBody } from './answer.ts';

/** The head of a response, and its body. */
export interface Received {
  readonly status: number;
  readonly headers: AnswerHeaders;
  readonly body: AnswerBody;
}

/** A body paused longer than `idleTimeout`. */
class StalledBodyError extends Error {
  override readonly name = 'StalledBodyError';
  readonly code = 'ERR_BODY_STALLED';
}

class UnaskedUpgradeError extends Error {
  override readonly name = 'UnaskedUpgradeError';
  readonly code = 'ERR_UNASKED_UPGRADE';
}

/** One request and its response. Errors of its connection end this exchange and nothing else. */
export class Exchange {
  readonly #request: ClientRequest;
  readonly #idleTimeoutMs: number;
  readonly #received = deferred<Received>();
  #body: AnswerBody | undefined;

  constructor(request: ClientRequest, idleTimeoutMs: number) {
    this.#request = request;
    this.#idleTimeoutMs = idleTimeoutMs;
    // Errors may come late, and more than one: a listener stays as long as the request lives.
    request.on('error', (error) => this.#received.reject(error));
    request.on('close', () => this.#received.reject(lostConnection()));
    request.on('upgrade', (_incoming, socket) => {
      socket.destroy();
      this.#received.reject(new UnaskedUpgradeError('it changes to a protocol that nobody asked for'));
    });
    request.on(
      'response',
      this.#guarded((incoming: IncomingMessage) => this.#begin(incoming)),
    );
  }

  /** Rejects with an error of Node. */
  get received(): Promise<Received> {
    return this.#received.promise;
  }

  abandon(): void {
    this.#request.destroy();
  }

  #begin(incoming: IncomingMessage): void {
    const startTimer = () =>
      runningTime.timer(this.#idleTimeoutMs, () => {
        body.fail(new StalledBodyError('the body has paused for too long'));
        this.#request.destroy();
      });
    let timer = startTimer();
    const body = new AnswerBody({
      // While the reader pauses, the server is not the one that is silent.
      pause: () => {
        timer.stop();
        incoming.pause();
      },
      resume: () => {
        timer = startTimer();
        incoming.resume();
      },
      abort: () => this.#request.destroy(),
    });
    this.#body = body;
    const onData = this.#guarded((chunk: Buffer) => {
      timer.restart();
      body.push(chunk);
    });
    const breakOff = this.#guarded((error: Error) => {
      incoming.off('data', onData);
      // Bytes that arrived after the pause of a slow reader and before the break.
      for (let chunk = readNext(incoming); chunk !== null; chunk = readNext(incoming)) body.push(chunk);
      body.fail(error);
    });
    incoming.on('data', onData);
    incoming.on('end', () => body.finish());
    incoming.on('error', breakOff);
    // Node reports a reset as the regular end of a body without a length.
    this.#request.on('error', (error) => {
      if (!incoming.complete) breakOff(error);
    });
    incoming.on('close', () => {
      timer.stop();
      body.fail(lostConnection());
    });
    this.#received.resolve({ status: incoming.statusCode ?? 0, headers: headersOf(incoming), body });
  }

  /** An error thrown in a callback of Node would end the process; here it ends the exchange. */
  #guarded<A>(handle: (argument: A) => void): (argument: A) => void {
    return (argument) => {
      try {
        handle(argument);
      } catch (error) {
        this.#received.reject(error);
        this.#body?.fail(error);
        this.#request.destroy();
      }
    };
  }
}

function readNext(incoming: IncomingMessage): Buffer | null {
  return incoming.read() as Buffer | null;
}

function lostConnection(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' });
}

/** Node's own `headers` joins or drops repeated lines. */
function headersOf({ rawHeaders }: IncomingMessage): AnswerHeaders {
  const headers = new Map<string, string | string[]>();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = [rawHeaders[index]?.toLowerCase(), rawHeaders[index + 1]];
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : [before, value].flat());
  }
  return Object.fromEntries(headers);
}
