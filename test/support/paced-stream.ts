import { AnswerBody } from '../../src/upstream/connect/answer.ts';
import type { BlobStream } from '../../src/upstream/upstream.ts';
import { turns } from './turns.ts';

export interface Pace {
  readonly offset: number;
  readonly end: number;
  /** How many bytes the next piece has. */
  readonly nextPiece: () => number;
  /** Hears of each piece how many bytes it had. */
  readonly onSent?: (bytes: number) => void;
}

/** Bytes of which no two words are alike, so that misplaced ones show. */
export function numberedBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(Math.imul(at + 1, 0x9e3779b1) >>> 0, at);
  return bytes;
}

/** A stream of upstream: one piece in each turn, none while it is held back. */
export function pacedStream(bytes: Buffer, { offset, end, nextPiece, onSent }: Pace): BlobStream {
  const connection = { isPaused: false, isClosed: false };
  const body = new AnswerBody({
    pause: () => (connection.isPaused = true),
    resume: () => (connection.isPaused = false),
    abort: () => (connection.isClosed = true),
  });
  const send = async (): Promise<void> => {
    for (let at = offset; at < end && !connection.isClosed; await turns(1)) {
      if (connection.isPaused) continue;
      const next = Math.min(end, at + nextPiece());
      body.push(Buffer.from(bytes.subarray(at, next)));
      onSent?.(next - at);
      at = next;
    }
    body.finish();
  };
  void send();
  return { offset, totalSize: bytes.length, body, isDecoded: false, close: () => body.close() };
}
