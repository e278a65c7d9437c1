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

/** Buffers of one size for reuse: allocating and collecting them costs more than copying their bytes. */
class IdleBuffers {
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

  /** Returns a buffer that nothing refers to any more. */
  give(buffer: Buffer): void {
    if (this.#idle.length < this.#maxIdle) this.#idle.push(buffer);
  }
}

interface BufferPoolOptions {
  /** How many responses at a time get large buffers. */
  readonly maxLarge: number;
  readonly largeBytes: number;
  readonly smallBytes: number;
}

/** Two buffers for one response: the file is read into one while the socket sends the other. */
export interface Lease {
  readonly pair: readonly [Buffer, Buffer];
  /** Returns the buffers to the pool; nothing may refer to them any more. */
  giveBack(): void;
  /** The response has ended, with or without success. Safe to call more than once. */
  end(): void;
}

/**
 * Lends buffers to responses. Fast clients need large buffers, and a few fast clients keep the machine busy. With
 * many responses, most wait for slow clients: then small buffers save memory.
 */
export class BufferPool {
  readonly #maxLarge: number;
  readonly #large: IdleBuffers;
  readonly #small: IdleBuffers;
  #largeLeases = 0;

  constructor({ maxLarge, largeBytes, smallBytes }: BufferPoolOptions) {
    this.#maxLarge = maxLarge;
    this.#large = new IdleBuffers({ bufferBytes: largeBytes, maxIdle: 2 * maxLarge });
    this.#small = new IdleBuffers({ bufferBytes: smallBytes, maxIdle: 2 * maxLarge });
  }

  lend(): Lease {
    const isLarge = this.#largeLeases < this.#maxLarge;
    if (isLarge) this.#largeLeases++;
    let isOver = false;
    const pool = isLarge ? this.#large : this.#small;
    const pair = [pool.take(), pool.take()] as const;
    return {
      pair,
      giveBack: () => pair.forEach((buffer) => pool.give(buffer)),
      end: () => {
        if (isLarge && !isOver) this.#largeLeases--;
        isOver = true;
      },
    };
  }
}

const buffers = new BufferPool({ maxLarge: 64, largeBytes: 256 * 1024, smallBytes: 64 * 1024 });

const TYPE = ['Content-Type', 'application/octet-stream'] as const;

/** Answers a HEAD for a blob. No file is opened. */
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
  headers.push(...TYPE);
  if (blob.size !== undefined) headers.push('Content-Length', String(blob.size));
  response.writeHead(200, headers).end();
}

/**
 * Sends a blob or the requested ranges (RFC 9110 section 14) through two reused buffers, and closes the body. An
 * incomplete body ends short of its length: by FIN, so that clients resume, or by RST if its bytes are wrong. Rejects
 * only before the headers are sent.
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
    // Clients of a fill get the headers at once: the first bytes may take long. An answer without bytes would end with
    // its headers, before the blob is verified.
    if (body.cache !== 'hit' && !pieces.every(isEmpty)) response.flushHeaders();
    await sendPieces(exchange, body, pieces);
  } catch (error) {
    if (!response.headersSent) throw error;
    endShort(response, error);
  } finally {
    body.close();
  }
}

/** A part of the body: literal text (a multipart delimiter) or a section of the blob. */
type Piece = Buffer | { readonly range: ByteRange | undefined };

function startAnswer(exchange: Exchange, digest: Digest, body: BlobBody): Piece[] {
  const { request, response } = exchange;
  const headers = blobHeaders(exchange, digest);
  const { size } = body;
  if (size === undefined) {
    response.writeHead(200, [...headers, ...TYPE]);
    return [{ range: undefined }];
  }
  const isRanged = isRangeValid(request.headers['if-range'], digest);
  const asked = parseRange(isRanged ? request.headers.range : undefined, size);
  switch (asked.kind) {
    case 'whole':
      headers.push(...TYPE, 'Content-Length', String(size));
      response.writeHead(200, headers);
      return [{ range: { start: 0, end: size } }];
    case 'unsatisfiable':
      response.setHeader('Content-Range', `bytes */${size}`);
      throw new RequestError(
        416,
        'SIZE_INVALID',
        `the range begins after the end of the blob, which has ${size} bytes`,
      );
    case 'ranges': {
      const [range] = asked.ranges;
      if (asked.ranges.length > 1) return startMultipart(exchange, headers, { ranges: asked.ranges, size });
      headers.push(...TYPE, 'Content-Length', String(range.end - range.start));
      headers.push('Content-Range', contentRange(range, size));
      response.writeHead(206, headers);
      return [{ range }];
    }
  }
}

/** Several ranges in one response (RFC 9110 section 14.6). */
function startMultipart(
  exchange: Exchange,
  headers: readonly string[],
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
  const type = `multipart/byteranges; boundary=${boundary}`;
  exchange.response.writeHead(206, [...headers, 'Content-Type', type, 'Content-Length', String(length)]);
  return pieces;
}

function isEmpty(piece: Piece): boolean {
  return !Buffer.isBuffer(piece) && piece.range !== undefined && piece.range.start === piece.range.end;
}

function pieceLength(piece: Piece): number {
  if (Buffer.isBuffer(piece)) return piece.length;
  return piece.range === undefined ? 0 : piece.range.end - piece.range.start;
}

/** A flat array, and no setHeader before: Node would convert any other form to one. */
function blobHeaders(exchange: Exchange, digest: Digest): string[] {
  const headers = [
    'Docker-Content-Digest',
    digest,
    'ETag',
    etag(digest),
    'Accept-Ranges',
    'bytes',
    'Docker-Distribution-API-Version',
    'registry/2.0',
    'Cache-Status',
    cacheStatusHeader(exchange.cache),
  ];
  for (const pair of Object.entries(namespaceHeader(exchange))) headers.push(...pair);
  return headers;
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
  // Node does not report queued writes it never sent, so the lease also ends on close.
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
    // Not earlier, nor after an error: a failed socket may still hold the buffer it was sending.
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

/** Resolves when the socket has taken all chunks. There must be at least one. */
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
  // A pipelined response has no socket until those before it are sent.
  if (response.socket === null) response.once('socket', end);
  else end(response.socket);
}
