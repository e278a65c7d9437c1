import type { Duplex } from 'node:stream';
import type { Exchange } from './exchange.ts';

/** Answers that are not over yet, by connection: a client may send requests ahead (RFC 9112 section 9.3.2). */
export class OpenAnswers {
  readonly #counts = new WeakMap<Duplex, { answers: number }>();

  /** Sees to it that the response closes when its connection does; `onEnd` is called then, or when it is over before. */
  begin(exchange: Exchange, onEnd: (exchange: Exchange) => void): void {
    const { request, response } = exchange;
    const open = this.#countOf(request.socket);
    open.answers++;
    response.on('close', () => {
      open.answers--;
      onEnd(exchange);
    });
    // Of the end of a connection Node tells only the answer that is being sent, not those that wait for their turn.
    if (response.socket !== null) return;
    request.once('close', () => {
      if (response.socket !== null || response.writableFinished) return;
      response.destroy();
      response.emit('close');
    });
  }

  isAnyOn(connection: Duplex): boolean {
    return (this.#counts.get(connection)?.answers ?? 0) > 0;
  }

  #countOf(connection: Duplex): { answers: number } {
    const known = this.#counts.get(connection);
    if (known !== undefined) return known;
    const none = { answers: 0 };
    this.#counts.set(connection, none);
    return none;
  }
}
