import type { Duplex } from 'node:stream';
import type { Exchange } from './exchange.ts';

/** Answers that are not over yet, by connection: a client may send requests ahead (RFC 9112 section 9.3.2). */
export class OpenAnswers {
  readonly #counts = new WeakMap<Duplex, number>();

  /** Sees to it that the response closes when its connection does. */
  begin({ request, response }: Exchange): void {
    const { socket } = request;
    this.#add(socket, 1);
    response.once('close', () => this.#add(socket, -1));
    // Of the end of a connection Node tells only the answer that is being sent, not those that wait for their turn.
    request.once('close', () => {
      if (response.socket !== null || response.destroyed || response.writableFinished) return;
      response.destroy();
      response.emit('close');
    });
  }

  isAnyOn(connection: Duplex): boolean {
    return (this.#counts.get(connection) ?? 0) > 0;
  }

  #add(connection: Duplex, change: number): void {
    this.#counts.set(connection, (this.#counts.get(connection) ?? 0) + change);
  }
}
