import { connect, type Socket } from 'node:net';
import { deferred } from '../../src/lib/promises.ts';
import { headerLines, HttpDecoder, type RawHead } from './http-decoder.ts';
import { withDeadline } from './wait.ts';

export interface RawRequest {
  /** Origin to connect to, e.g. `http://127.0.0.1:5000`; a path in it is not used. */
  readonly origin: string;
  /** Default GET. */
  readonly method?: string;
  /** The request target, sent as it is: `%2f`, `..`, NUL and all. Each character is one byte (Latin-1). */
  readonly target: string;
  /** Lines sent in this order, repeated names included. `Host` is added unless it is among them. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: Buffer | string;
  /** True leaves `Connection: close` out; `finished()` then ends with the body. */
  readonly keepAlive?: boolean;
  /** Takes the body piece by piece; it is then not collected. */
  readonly onBody?: (chunk: Buffer) => void;
  /** For each wait; default 10 s. */
  readonly timeoutMs?: number;
}

export interface RawResponse extends RawHead {
  /** Empty if `onBody` took it. */
  readonly body: Buffer;
  readonly bodyBytes: number;
  /** The body came to the end that Content-Length or the final chunk announced. */
  readonly complete: boolean;
  /** How the server ended the connection; `open` if it did not (only with `keepAlive`). */
  readonly ending: 'fin' | 'rst' | 'open';
  /** The values of a header joined by `, `; undefined if there is none. */
  header(name: string): string | undefined;
}

/** One request on a connection of its own, and what comes back while it comes back. */
export class RawExchange {
  readonly socket: Socket;
  readonly #request: RawRequest;
  readonly #decoder: HttpDecoder;
  readonly #head = deferred<RawHead>();
  readonly #ended = deferred<RawResponse['ending']>();
  readonly #chunks: Buffer[] = [];
  readonly #waiting = new Set<() => void>();
  #bodyBytes = 0;

  constructor(request: RawRequest) {
    this.#request = request;
    const { hostname, port } = new URL(request.origin);
    this.#decoder = new HttpDecoder({
      method: request.method ?? 'GET',
      onBody: (chunk) => this.#take(chunk),
    });
    this.socket = connect({ host: hostname, port: Number(port || 80), noDelay: true, allowHalfOpen: true });
    this.socket.on('data', (bytes: Buffer) => this.#decode(bytes));
    this.socket.once('end', () => this.#probe());
    this.socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') this.#over('rst');
      else this.#fail(error);
    });
    this.socket.once('close', () => this.#fail(new Error('the connection was closed on this side')));
    this.socket.write(requestBytes(request, `${hostname}:${port}`));
  }

  /** Rejects if the connection is refused or ends before a whole head has come. */
  head(): Promise<RawHead> {
    return this.#withDeadline(this.#head.promise, 'the head of the answer');
  }

  /** Resolves when at least `bytes` bytes of the body have come; rejects if the connection ends before. */
  async bodyReached(bytes: number): Promise<void> {
    const reached = deferred<void>();
    const check = (): void => {
      if (this.#bodyBytes >= bytes) reached.resolve();
    };
    this.#waiting.add(check);
    check();
    await this.#withDeadline(
      Promise.race([reached.promise, this.#endsBefore(bytes)]),
      `${bytes} bytes of the body`,
    );
    this.#waiting.delete(check);
  }

  async #endsBefore(bytes: number): Promise<void> {
    const how = await this.#ended.promise;
    if (this.#bodyBytes < bytes) throw new Error(`${how} after ${this.#bodyBytes} of ${bytes} bytes`);
  }

  /** Bytes of the body that have come so far. */
  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** The body so far. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** The answer once the connection has ended or, with `keepAlive`, the body is complete. */
  async finished(): Promise<RawResponse> {
    const ending = await this.#withDeadline(this.#ended.promise, 'the end of the answer');
    const head = await this.head();
    return {
      ...head,
      body: Buffer.concat(this.#chunks),
      bodyBytes: this.#bodyBytes,
      complete: this.#decoder.complete,
      ending,
      header(name) {
        const lines = headerLines(head, name);
        return lines.length === 0 ? undefined : lines.join(', ');
      },
    };
  }

  /** Goes away, as a client that was killed does. */
  destroy(): void {
    this.socket.destroy();
  }

  #decode(bytes: Buffer): void {
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      this.#fail(error);
      this.socket.destroy();
      return;
    }
    if (this.#decoder.head !== undefined) this.#head.resolve(this.#decoder.head);
    if (this.#decoder.complete && this.#request.keepAlive) {
      this.#ended.resolve('open');
      this.socket.destroy();
    }
  }

  #take(chunk: Buffer): void {
    this.#bodyBytes += chunk.length;
    if (this.#request.onBody === undefined) this.#chunks.push(chunk);
    else this.#request.onBody(chunk);
    for (const check of this.#waiting) check();
  }

  /**
   * libuv reports a reset as an ordinary end when it arrives together with the last bytes (uv__stream_io). Writing
   * tells: after a FIN it is still possible, after a RST it fails.
   */
  #probe(): void {
    this.socket.write('\r\n', (error) => {
      this.#over(error ? 'rst' : 'fin');
      this.socket.destroy();
    });
  }

  #over(how: 'fin' | 'rst'): void {
    if (how === 'fin') this.#decoder.finish();
    this.#ended.resolve(how);
    this.#head.reject(new Error(`the connection ended by ${how} before the head of an answer`));
  }

  #fail(error: unknown): void {
    this.#head.reject(error);
    this.#ended.reject(error);
  }

  #withDeadline<T>(promise: Promise<T>, what: string): Promise<T> {
    const { method = 'GET', target, timeoutMs } = this.#request;
    return withDeadline(promise, `${what} to ${method} ${target.slice(0, 100)}`, timeoutMs);
  }
}

function requestBytes(request: RawRequest, authority: string): Buffer {
  const { method = 'GET', target, headers = [], body = '', keepAlive = false } = request;
  const payload = Buffer.from(body);
  const hasHost = headers.some(([name]) => name.toLowerCase() === 'host');
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...(hasHost ? [] : [`Host: ${authority}`]),
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(payload.length === 0 ? [] : [`Content-Length: ${payload.length}`]),
    ...(keepAlive ? [] : ['Connection: close']),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), payload]);
}

/** Sends exactly these bytes and gives the whole answer. */
export function rawRequest(request: RawRequest): Promise<RawResponse> {
  return new RawExchange(request).finished();
}

/** A GET (or what `method` says) of a URL with plain headers: no redirect followed, nothing decoded. */
export function fetchRaw(
  url: string,
  options: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<RawResponse> {
  const { origin, pathname, search } = new URL(url);
  const { method = 'GET', headers = {} } = options;
  return rawRequest({ origin, method, target: pathname + search, headers: Object.entries(headers) });
}
