import { Duplex } from 'node:stream';
import type { Connection } from './connection.ts';

/** A connection as the stream that Node's HTTP client wants, for one request. */
export class Link extends Duplex {
  #connection: Connection | undefined;

  constructor(connection: Connection) {
    super({ allowHalfOpen: false });
    this.#connection = connection;
    const { socket } = connection;
    connection.receive((bytes) => {
      if (!this.push(bytes)) socket.pause();
    });
    socket.once('end', this.#onEnd).once('error', this.#onError).once('close', this.#onClose);
    socket.resume();
  }

  /** Gives the connection away: the stream has no bytes any more, and its end does not end the connection. */
  detach(): Connection | undefined {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.socket.off('end', this.#onEnd).off('error', this.#onError).off('close', this.#onClose);
    return connection;
  }

  /** The bytes before the end may still wait for a slow reader: the connection's own end must not drop them. */
  readonly #onEnd = (): void => {
    this.#connection?.socket.off('close', this.#onClose);
    this.push(null);
  };
  readonly #onError = (error: Error): void => void this.destroy(error);
  readonly #onClose = (): void => void this.destroy();

  override _read(): void {
    this.#connection?.socket.resume();
  }

  override _write(bytes: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#connection === undefined) done();
    else this.#connection.socket.write(bytes, encoding, done);
  }

  /** Node's HTTP client calls this after a response that ends its connection. The server may keep its own end open. */
  destroySoon(): void {
    this.destroy();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.detach()?.socket.destroy();
    done(error);
  }
}
