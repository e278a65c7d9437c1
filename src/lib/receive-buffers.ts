/**
 * Buffers for received bytes. They are used again: to allocate them, to touch their memory for the first time and to
 * collect them costs more than the bytes themselves.
 *
 * A piece is a view of one. Each holder of a piece counts. Who never releases only leaves the buffer to the garbage
 * collector; so on an error nothing needs to be released.
 */

/** More than most connections deliver at a time, and little enough for many slow transfers. */
export const RECEIVE_BUFFER_BYTES = 256 * 1024;
const MAX_IDLE = 64;
const IDLE_MS = 5000;

const holders = new WeakMap<ArrayBufferLike, number>();
const idle: Buffer[] = [];
let idleTimer: NodeJS.Timeout | undefined;

/** A buffer with one holder, the caller. */
export function takeBuffer(): Buffer {
  const buffer = idle.pop() ?? Buffer.allocUnsafeSlow(RECEIVE_BUFFER_BYTES);
  holders.set(buffer.buffer, 1);
  return buffer;
}

/** Adds a holder of the buffer that `piece` is a view of. No effect on other buffers. */
export function hold(piece: Buffer): void {
  const count = holders.get(piece.buffer);
  if (count !== undefined) holders.set(piece.buffer, count + 1);
}

/** Removes a holder. After the last one, the buffer is used again. No effect on other buffers. */
export function release(piece: Buffer): void {
  const count = holders.get(piece.buffer);
  if (count === undefined) return;
  if (count > 1) {
    holders.set(piece.buffer, count - 1);
    return;
  }
  holders.delete(piece.buffer);
  if (idle.length >= MAX_IDLE) return;
  idle.push(Buffer.from(piece.buffer));
  idleTimer?.refresh();
  idleTimer ??= setTimeout(() => {
    idleTimer = undefined;
    idle.length = 0;
  }, IDLE_MS).unref();
}

/** Adds `piece` to `pieces`. A piece that begins where the last one ends becomes one with it, and needs no holder. */
export function append(pieces: Buffer[], piece: Buffer): void {
  const last = pieces.at(-1);
  if (
    last === undefined ||
    last.buffer !== piece.buffer ||
    last.byteOffset + last.length !== piece.byteOffset
  ) {
    pieces.push(piece);
    return;
  }
  release(piece);
  pieces[pieces.length - 1] = Buffer.from(piece.buffer, last.byteOffset, last.length + piece.length);
}
