import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { deferred } from '../../src/lib/promises.ts';
import type { Answer } from './answer.ts';
import type { ActiveFault, ConnectionEnd } from './faults.ts';
import type { Gate } from './gate.ts';
import type { LoggedRequest } from './log.ts';

const CHUNK_BYTES = 512 * 1024;

/** A place in a body where sending waits; `at` counts from the start of the whole body. */
export interface Stop {
  readonly at: number;
  readonly gate: Gate;
}

export interface SendOptions {
  readonly fault?: ActiveFault;
  readonly stops: readonly Stop[];
  /** Called when the head has gone out and when the body is over. */
  readonly changed: () => void;
}

/** Sends `answer` the way the fault and the stops demand; resolves when nothing more will be sent. */
export async function sendAnswer(
  response: ServerResponse,
  request: LoggedRequest,
  answer: Answer,
  options: SendOptions,
): Promise<void> {
  request.status = answer.status;
  response.writeHead(answer.status, { ...answer.headers });
  response.flushHeaders();
  options.changed();
  const bodiless = request.method === 'HEAD' || answer.status === 204 || answer.status === 304;
  if (bodiless || (await sendBody(response, request, answer, options))) await endResponse(response);
}

/** Ends the connection as told; bytes that the kernel still holds may get lost by a reset. */
export function hangUp(socket: Socket | null, how: ConnectionEnd): void {
  if (how === 'rst') socket?.resetAndDestroy();
  else socket?.destroy();
}

/** True if the body went out to its end. */
async function sendBody(
  response: ServerResponse,
  request: LoggedRequest,
  answer: Answer,
  options: SendOptions,
): Promise<boolean> {
  const { start, end } = answer.range ?? { start: 0, end: answer.body.size };
  const action = options.fault?.action ?? {};
  const cutAt = action.cutAfterBytes === undefined ? Infinity : start + action.cutAfterBytes;
  const stops = stopsOf(options, start);
  const closed = closing(response);
  const read = answer.body.reader();
  const pace = pacer(action.throttleBytesPerSecond);
  let writing: Promise<void> = Promise.resolve();
  for (let position = start; ;) {
    while (stops[0] !== undefined && stops[0].at <= position) {
      await writing;
      await Promise.race([stops.shift()?.gate.pass(), closed]);
    }
    if (position >= cutAt) {
      await writing;
      hangUp(response.socket, action.cutBy ?? 'fin');
      return false;
    }
    if (position >= end) break;
    const limit = Math.min(end, cutAt, stops[0]?.at ?? end, position + pace.chunkBytes);
    const chunk = flipped(read(position, limit - position), position, action.corruptAt);
    await writing;
    if (response.destroyed) return false;
    writing = write(response, chunk, request, closed);
    position += chunk.length;
    await pace.after(chunk.length, closed);
  }
  await writing;
  return !response.destroyed;
}

function stopsOf(options: SendOptions, start: number): Stop[] {
  const stops = options.stops.filter((stop) => stop.at >= start);
  const stallAfter = options.fault?.action.stallAfterBytes;
  if (options.fault !== undefined && stallAfter !== undefined) {
    stops.push({ at: start + stallAfter, gate: options.fault.gate });
  }
  return stops.sort((one, other) => one.at - other.at);
}

function closing(response: ServerResponse): Promise<void> {
  const gone = deferred<void>();
  if (response.destroyed) gone.resolve();
  response.once('close', () => gone.resolve());
  return gone.promise;
}

function write(
  response: ServerResponse,
  chunk: Buffer,
  request: LoggedRequest,
  closed: Promise<void>,
): Promise<void> {
  const flushed = new Promise<void>((resolve) => {
    response.write(chunk, (error) => {
      if (!error) request.bytesSent += chunk.length;
      resolve();
    });
  });
  return Promise.race([flushed, closed]);
}

function flipped(chunk: Buffer, position: number, corruptAt: number | undefined): Buffer {
  const index = (corruptAt ?? -1) - position;
  if (index < 0 || index >= chunk.length) return chunk;
  const copy = Buffer.from(chunk);
  copy[index] = (copy[index] ?? 0) ^ 0xff;
  return copy;
}

interface Pacer {
  readonly chunkBytes: number;
  after(bytes: number, closed: Promise<void>): Promise<void>;
}

function pacer(bytesPerSecond: number | undefined): Pacer {
  if (bytesPerSecond === undefined) return { chunkBytes: CHUNK_BYTES, after: () => Promise.resolve() };
  return {
    chunkBytes: Math.max(1, Math.min(CHUNK_BYTES, Math.floor(bytesPerSecond / 20))),
    after: (bytes, closed) => pause((bytes / bytesPerSecond) * 1000, closed),
  };
}

/** Resolves after `ms` milliseconds, or when the connection is gone. */
export async function pause(ms: number, closed: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([over, closed]);
  clearTimeout(timer);
}

async function endResponse(response: ServerResponse): Promise<void> {
  const closed = closing(response);
  await Promise.race([new Promise<void>((resolve) => void response.end(resolve)), closed]);
}
