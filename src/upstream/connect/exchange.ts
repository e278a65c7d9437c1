import {
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import type { Readable } from 'node:stream';
import { deferred } from '../../lib/promises.ts';
import type { AnswerHeaders } from '../upstream.ts';
import { AnswerBody } from './answer.ts';
import type { Connection } from './connection.ts';
import { contentLength, headerText } from './headers.ts';
import { Link } from './link.ts';

/** The head of a response, and its body. */
export interface Received {
  readonly status: number;
  readonly headers: AnswerHeaders;
  readonly body: AnswerBody;
}

class UnaskedUpgradeError extends Error {
  override readonly name = 'UnaskedUpgradeError';
  readonly code = 'ERR_UNASKED_UPGRADE';
}

export interface ExchangeOptions {
  readonly connection: Connection;
  readonly request: RequestOptions;
  readonly body: string | undefined;
  readonly idleTimeoutMs: number;
  /** The connection can serve another request. `keptMs`: how long the server keeps it, if it says so. */
  readonly onFree: (keptMs: number | undefined) => void;
}

/** The rest of a longer body goes past Node's parser, which takes a new buffer for every read. */
const BULK_BYTES = 256 * 1024;

/** One request and its response. Errors of its connection end this exchange and nothing else. */
export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #link: Link;
  readonly #request: ClientRequest;
  readonly #received = deferred<Received>();
  #body: AnswerBody | undefined;
  /** What the body comes from. */
  #stream: Readable | undefined;

  /** Throws an error of Node if a header cannot be sent. */
  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#link = new Link(options.connection);
    const createConnection = () => this.#link;
    const request = httpRequest({ ...options.request, createConnection, insecureHTTPParser: false });
    this.#request = request;
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
    request.end(options.body);
  }

  /** Rejects with an error of Node. */
  get received(): Promise<Received> {
    return this.#received.promise;
  }

  abandon(): void {
    this.#request.destroy();
    this.#stream?.destroy();
  }

  #begin(incoming: IncomingMessage): void {
    const request = this.#request;
    const headers = headersOf(incoming);
    const body = new AnswerBody(
      {
        pause: () => this.#stream?.pause(),
        resume: () => this.#stream?.resume(),
        abort: () => this.abandon(),
      },
      this.#options.idleTimeoutMs,
    );
    this.#body = body;
    this.#stream = incoming;
    const onData = this.#guarded((chunk: Buffer) => body.push(chunk));
    const breakOff = this.#guarded((error: Error) => {
      incoming.off('data', onData);
      // Bytes that arrived after the pause of a slow reader and before the break.
      for (let chunk = readNext(incoming); chunk !== null; chunk = readNext(incoming)) body.push(chunk);
      body.fail(error);
    });
    incoming.on('end', () => body.finish());
    incoming.on('error', breakOff);
    // Node reports a reset as the regular end of a body without a length.
    request.on('error', (error) => {
      if (!incoming.complete) breakOff(error);
    });
    incoming.on('close', () => body.fail(lostConnection()));
    request.on('close', () => {
      if (!incoming.complete || !request.shouldKeepAlive || this.#link.destroyed) return;
      this.#link.detach();
      this.#options.onFree(keptMs(headers));
    });
    this.#received.resolve({ status: incoming.statusCode ?? 0, headers, body });
    const length = request.method === 'HEAD' ? undefined : plainLength(headers);
    if (length === undefined || length < BULK_BYTES) {
      incoming.on('data', onData);
      return;
    }
    const goOn = this.#guarded(() => {
      const early = readNext(incoming);
      if (early !== null) onData(early);
      if (incoming.complete || incoming.destroyed || this.#link.readableLength > 0) {
        incoming.on('data', onData);
      } else {
        this.#leaveParser(incoming);
        this.#receiveRest(body, { length: length - (early?.length ?? 0), headers });
      }
    });
    // By then the parser has taken all bytes that came with the head.
    process.nextTick(goOn);
  }

  #leaveParser(incoming: IncomingMessage): void {
    this.#link.detach();
    for (const emitter of [this.#request, incoming])
      emitter.removeAllListeners().on('error', () => undefined);
    this.#request.destroy();
  }

  #receiveRest(
    body: AnswerBody,
    { length, headers }: { readonly length: number; readonly headers: AnswerHeaders },
  ): void {
    const { connection, onFree } = this.#options;
    const { socket } = connection;
    const isKept = this.#request.shouldKeepAlive && this.#request.writableFinished;
    let left = length;
    const fail = (error: Error): void => body.fail(error);
    const lose = (): void => body.fail(lostConnection());
    const receive = (bytes: Buffer): void => {
      const isTooLong = bytes.length > left;
      const piece = isTooLong ? bytes.subarray(0, left) : bytes;
      left -= piece.length;
      body.push(piece);
      if (left > 0) return;
      this.#stream = undefined;
      body.finish();
      socket.resume();
      socket.off('error', fail).off('close', lose);
      if (isKept && !isTooLong) onFree(keptMs(headers));
      else socket.destroy();
    };
    this.#stream = socket;
    socket.once('error', fail).once('close', lose);
    connection.receive(this.#guarded(receive), 'bulk');
    socket.resume();
  }

  /** An error thrown in a callback of Node would end the process; here it ends the exchange. */
  #guarded<A extends readonly unknown[]>(handle: (...args: A) => void): (...args: A) => void {
    return (...args) => {
      try {
        handle(...args);
      } catch (error) {
        this.#received.reject(error);
        this.#body?.fail(error);
        this.abandon();
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

/** The length of a body that comes as it is; undefined if it is coded for the transfer or its end is its length. */
function plainLength(headers: AnswerHeaders): number | undefined {
  return headers['transfer-encoding'] === undefined ? contentLength(headers) : undefined;
}

/** How long the server keeps an idle connection (`Keep-Alive: timeout=5`, in seconds). */
function keptMs(headers: AnswerHeaders): number | undefined {
  const seconds = /\btimeout\s*=\s*"?(\d{1,9})/i.exec(headerText(headers, 'keep-alive') ?? '')?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
