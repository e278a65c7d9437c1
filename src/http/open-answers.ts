import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Exchange } from './exchange.ts';

/** Answers that are not over yet, by connection: a client may send requests ahead (RFC 9112 section 9.3.2). */
export class OpenAnswers {
  readonly #open = new WeakMap<Duplex, Set<ServerResponse>>();

  /** Sees to it that the response closes when its connection does; `onEnd` is called then, or when it is over before. */
  begin(exchange: Exchange, onEnd: (exchange: Exchange) => void): void {
    const { request, response } = exchange;
    const open = this.#openOn(request.socket);
    open.add(response);
    response.on('close', () => {
      open.delete(response);
      onEnd(exchange);
    });
  }

  isAnyOn(connection: Duplex): boolean {
    return (this.#open.get(connection)?.size ?? 0) > 0;
  }

  #openOn(connection: Duplex): Set<ServerResponse> {
    const known = this.#open.get(connection);
    if (known !== undefined) return known;
    const open = new Set<ServerResponse>();
    this.#open.set(connection, open);
    connection.once('close', () => open.forEach(endWaiting));
    return open;
  }
}

/** Of the end of a connection Node tells only the answer that is being sent, not those that wait for their turn. */
function endWaiting(response: ServerResponse): void {
  if (response.socket !== null || response.writableFinished) return;
  response.destroy();
  response.emit('close');
}
