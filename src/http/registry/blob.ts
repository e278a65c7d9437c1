import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { BlobBodyError } from '../../download/errors.ts';
import type { BlobBody, BlobSection, CacheStatus } from '../../mirror/answer/answers.ts';
import type { Digest } from '../../oci/digest.ts';
import { contentRange, parseRange, type ByteRange } from '../../oci/range.ts';
import { RequestError } from './errors.ts';
import { namespaceHeader, type Exchange } from './exchange.ts';
import { cacheStatusHeader, etag, isNotModified, isRangeValid } from './headers.ts';

/** Buffers of one size that are used again: allocating and collecting them costs more than what they carry. */
export class IdleBuffers {
  readonly #size: number;
  readonly #maxIdle: number;
  readonly #idle: Buffer[] = [];

  constructor(options: { bufferBytes: number; maxIdle: number }) {
    this.#size = options.bufferBytes;
    this.#maxIdle = options.maxIdle;
  }

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.#size);
  }

  /** Gives a buffer back that nothing refers to any more. */
  give(buffer: Buffer): void {
    if (this.#idle.length < this.#maxIdle) this.#idle.push(buffer);
  }
}

export interface BufferPoolOptions {
  /** How many transfers at a time get large buffers. */
  readonly maxLarge: number;
  readonly largeBytes: number;
  readonly smallBytes: number;
}

/** What one transfer works with: one buffer is read into while the other is on its way to the socket. */
export interface Lease {
  readonly pair: readonly [Buffer, Buffer];
  /** Nothing refers to the buffers any more: others can have them. */
  giveBack(): void;
  /** The transfer is over, however it ended. Safe to call more than once. */
  end(): void;
}

/**
 * Lends buffers to transfers. Large ones are what a fast client needs, and few fast clients are enough to keep the
 * machine busy; when there are many transfers, most of them wait for slow clients, and their memory is what counts.
 */
export class BufferPool {
  readonly #maxLarge: number;
  readonly #large: IdleBuffers;
  readonly #small: IdleBuffers;
  #largeTransfers = 0;

  constructor({ maxLarge, largeBytes, smallBytes }: BufferPoolOptions) {
    this.#maxLarge = maxLarge;
    this.#large = new IdleBuffers({ bufferBytes: largeBytes, maxIdle: 2 * maxLarge });
    this.#small = new IdleBuffers({ bufferBytes: smallBytes, maxIdle: 2 * maxLarge });
  }

  lend(): Lease {
    const isLarge = this.#largeTransfers < this.#maxLarge;
    if (isLarge) this.#largeTransfers++;
    let isOver = false;
    const pool = isLarge ? this.#large : this.#small;
    const pair = [pool.take(), pool.take()] as const;
    return {
      pair,
      giveBack: () => pair.forEach((buffer) => pool.give(buffer)),
      end: () => {
        if (isLarge && !isOver) this.#largeTransfers--;
        isOver = true;
      },
    };
  }
}

const buffers = new BufferPool({ maxLarge: 64, largeBytes: 256 * 1024, smallBytes: 64 * 1024 });

/** The headers of a blob of `size` bytes, to a HEAD; nothing is opened for it. */
export function sendBlobHead(
  exchange: Exchange,
  digest: Digest,
  blob: { readonly size: number | undefined; readonly cache: CacheStatus },
): void {
  exchange.cache = blob.cache;
  const { response } = exchange;
  const headers = blobHeaders(exchange, digest);
  if (isNotModified(exchange.request.headers['if-none-match'], digest)) {
    response.writeHead(304, headers).end();
    return;
  }
  const length = blob.size === undefined ? {} : { 'Content-Length': blob.size };
  response.writeHead(200, { ...headers, 'Content-Type': 'application/octet-stream', ...length }).end();
}

/**
 * Sends a blob or the ranges asked for (RFC 9110 section 14), from file to socket through two reused buffers, and
 * closes it. A body that cannot be finished ends short of its length: by FIN, on which clients resume, or by RST if
 * what they have is wrong. Rejects only before the headers are out.
 */
export async function sendBlob(exchange: Exchange, digest: Digest, body: BlobBody): Promise<void> {
  const { response } = exchange;
  exchange.cache = body.cache;
  response.once('close', () => body.close());
  try {
    if (isNotModified(exchange.request.headers['if-none-match'], digest)) {
      response.writeHead(304, blobHeaders(exchange, digest)).end();
      return;
    }
    const pieces = startAnswer(exchange, digest, body);
    if (body.content !== undefined) {
      sendFromMemory(exchange, body.content, pieces);
      return;
    }
    // Whoever follows a fill learns at once that the blob is there, even if its first bytes take long.
    if (body.cache !== 'hit') response.flushHeaders();
    await sendPieces(exchange, body, pieces);
  } catch (error) {
    if (!response.headersSent) throw error;
    endShort(response, error);
  } finally {
    body.close();
  }
}

/** What goes out after the headers: literal text (multipart delimiters) and sections of the blob. */
type Piece = Buffer | { readonly range: ByteRange | undefined };

function startAnswer(exchange: Exchange, digest: Digest, body: BlobBody): Piece[] {
  const { request, response } = exchange;
  const headers = blobHeaders(exchange, digest);
  const type = 'application/octet-stream';
  const { size } = body;
  if (size === undefined) {
    response.writeHead(200, { ...headers, 'Content-Type': type });
    return [{ range: undefined }];
  }
  const isRanged = isRangeValid(request.headers['if-range'], digest);
  const asked = parseRange(isRanged ? request.headers.range : undefined, size);
  switch (asked.kind) {
    case 'whole':
      response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': size });
      return [{ range: { start: 0, end: size } }];
    case 'unsatisfiable':
      response.setHeader('Content-Range', `bytes */${size}`);
      throw new RequestError(
        416,
        'SIZE_INVALID',
        `the blob has ${size} bytes; the range asked for is beyond them`,
      );
    case 'ranges': {
      const [range] = asked.ranges;
      if (asked.ranges.length > 1) return startMultipart(exchange, headers, { ranges: asked.ranges, size });
      response.writeHead(206, {
        ...headers,
        'Content-Type': type,
        'Content-Length': range.end - range.start,
        'Content-Range': contentRange(range, size),
      });
      return [{ range }];
    }
  }
}

/** Several ranges in one answer (RFC 9110 section 14.6). */
function startMultipart(
  exchange: Exchange,
  headers: Record<string, string>,
  { ranges, size }: { ranges: readonly ByteRange[]; size: number },
): Piece[] {
  const boundary = randomBytes(16).toString('hex');
  const pieces: Piece[] = ranges.flatMap((range) => [
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`,
    ),
    { range },
  ]);
  pieces.push(Buffer.from(`\r\n--${boundary}--\r\n`));
  const length = pieces.reduce((sum, piece) => sum + pieceLength(piece), 0);
  exchange.response.writeHead(206, {
    ...headers,
    'Content-Type': `multipart/byteranges; boundary=${boundary}`,
    'Content-Length': length,
  });
  return pieces;
}

function pieceLength(piece: Piece): number {
  if (Buffer.isBuffer(piece)) return piece.length;
  return piece.range === undefined ? 0 : piece.range.end - piece.range.start;
}

function blobHeaders(exchange: Exchange, digest: Digest): Record<string, string> {
  return {
    'Docker-Content-Digest': digest,
    ETag: etag(digest),
    'Accept-Ranges': 'bytes',
    'Docker-Distribution-API-Version': 'registry/2.0',
    'Cache-Status': cacheStatusHeader(exchange.cache),
    ...namespaceHeader(exchange),
  };
}

function sendFromMemory(exchange: Exchange, content: Buffer, pieces: readonly Piece[]): void {
  const chunks = pieces.map((piece) =>
    Buffer.isBuffer(piece) ? piece : content.subarray(piece.range?.start, piece.range?.end),
  );
  for (const { length } of chunks) exchange.bytes += length;
  const last = chunks.pop();
  for (const chunk of chunks) exchange.response.write(chunk);
  exchange.response.end(last);
}

async function sendPieces(exchange: Exchange, body: BlobBody, pieces: readonly Piece[]): Promise<void> {
  const { response } = exchange;
  const lease = buffers.lend();
  // Of what was written to an answer whose turn never came nobody tells that it was not sent.
  response.once('close', () => lease.end());
  try {
    for (const piece of pieces) {
      if (Buffer.isBuffer(piece)) {
        await write(response, [piece]);
        exchange.bytes += piece.length;
      } else {
        await sendSection(exchange, body.section(piece.range), lease.pair);
      }
    }
    response.end();
    await finished(response, { cleanup: true });
    // Only now: a socket that failed may still hold the buffer that it was sending.
    lease.giveBack();
  } finally {
    lease.end();
  }
}

async function sendSection(exchange: Exchange, section: BlobSection, pair: Lease['pair']): Promise<void> {
  const { response } = exchange;
  let [next, other] = pair;
  let sending: Promise<void> | undefined;
  for (;;) {
    const chunks = await section.read(next);
    await sending;
    if (chunks.length === 0) return;
    for (const { length } of chunks) exchange.bytes += length;
    sending = write(response, chunks);
    sending.catch(() => undefined);
    [next, other] = [other, next];
  }
}

/** Resolves when the socket has taken the chunks, of which there is one at least. */
function write(response: ServerResponse, chunks: readonly Buffer[]): Promise<void> {
  return new Promise((resolve, reject) => {
    chunks.forEach((chunk, index) => {
      if (index < chunks.length - 1) response.write(chunk);
      else response.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  });
}

function endShort(response: ServerResponse, error: unknown): void {
  const isCorrupt = error instanceof BlobBodyError && error.code === 'corrupt';
  const end = (socket: Socket): void => {
    if (isCorrupt) socket.resetAndDestroy();
    else socket.destroy();
  };
  // The turn of an answer to a request that was sent ahead may not have come yet.
  if (response.socket === null) response.once('socket', end);
  else end(response.socket);
}
