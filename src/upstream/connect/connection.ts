import type { OnReadOpts, Socket } from 'node:net';
import { hold, release, takeBuffer } from '../../lib/receive-buffers.ts';

/** Enough for heads and short bodies. Each connection keeps such a buffer, idle ones too. */
const SMALL_BYTES = 64 * 1024;

/** Many bytes are read at a time into large buffers, or few into a small one. */
type ReceiveMode = 'bulk' | 'small';

/** The receiver becomes a holder of the bytes (`lib/receive-buffers.ts`). */
export type OnBytes = (bytes: Buffer) => void;

/**
 * A connection to a server, TLS included. Its socket reads into buffers that are used again. It has an error listener
 * that ignores errors, so they never end the process.
 */
export class Connection {
  readonly socket: Socket;
  readonly #small = Buffer.allocUnsafeSlow(SMALL_BYTES);
  #onBytes: OnBytes = () => undefined;
  #mode: ReceiveMode = 'small';
  /** The buffer for bulk that is being filled, and the end of the bytes in it. */
  #filling: Buffer | undefined;
  #end = 0;

  /** `open` makes the socket and hands it the `onread`. */
  constructor(open: (onread: OnReadOpts) => Socket) {
    this.socket = open({
      buffer: () => this.#room(),
      callback: (length, buffer) => {
        this.#received(buffer as Buffer, length);
        return true;
      },
    });
    this.socket.on('error', () => undefined);
  }

  /** For a socket that exists already; every read of it takes a new buffer. */
  static over(socket: Socket): Connection {
    const connection = new Connection(() => socket);
    socket.on('data', (bytes: Buffer) => connection.#onBytes(bytes));
    return connection;
  }

  /** From now on, received bytes go to `onBytes`. */
  receive(onBytes: OnBytes, mode: ReceiveMode = 'small'): void {
    this.#onBytes = onBytes;
    this.#mode = mode;
  }

  /** Where the next bytes go. Node asks for it after each read. */
  #room(): Buffer {
    const isFull = this.#end === this.#filling?.length;
    if (this.#filling !== undefined && (isFull || this.#mode === 'small')) {
      release(this.#filling);
      this.#filling = undefined;
    }
    if (this.#mode === 'small') return this.#small;
    if (this.#filling === undefined) {
      this.#filling = takeBuffer();
      this.#end = 0;
    }
    return this.#filling.subarray(this.#end);
  }

  #received(buffer: Buffer, length: number): void {
    const bytes = buffer.subarray(0, length);
    if (buffer === this.#small) {
      this.#onBytes(Buffer.from(bytes));
      return;
    }
    this.#end += length;
    hold(bytes);
    this.#onBytes(bytes);
  }
}
