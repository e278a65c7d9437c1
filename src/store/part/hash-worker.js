/*
 * The worker thread of hashing.ts. Plain JavaScript: tests run the sources, and Node 20 starts a thread only from a
 * JavaScript file.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

const buffer = Buffer.allocUnsafeSlow(1024 * 1024);
/** @type {Map<number, { fd: number, hash: import('node:crypto').Hash, position: number }>} */
const files = new Map();

/**
 * @param {import('./hashing.ts').HashOrder} order
 * @returns {string | undefined} hex digits, to `digest`
 */
function carryOut(order) {
  if (order.do === 'open') {
    files.set(order.file, { fd: openFile(order.path), hash: createHash(order.algorithm), position: 0 });
    return undefined;
  }
  const file = files.get(order.file);
  if (file === undefined) throw new Error('the file could not be opened');
  switch (order.do) {
    case 'advance':
      while (file.position < order.end) {
        const length = Math.min(buffer.length, order.end - file.position);
        const read = readSync(file.fd, buffer, 0, length, file.position);
        if (read === 0) throw Object.assign(new Error('the file is shorter than it was'), { code: 'SHORT' });
        file.hash.update(buffer.subarray(0, read));
        file.position += read;
      }
      return undefined;
    case 'digest':
      return file.hash.copy().digest('hex');
    case 'close':
      closeSync(file.fd);
      files.delete(order.file);
      return undefined;
  }
}

/**
 * Regular files only: a read from a pipe would block this thread for ever.
 * @param {string} path
 */
function openFile(path) {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw Object.assign(new Error(`${path} is not a file`), { code: 'not-a-file' });
}

/** @param {import('./hashing.ts').HashAnswer} message */
function answer(message) {
  parentPort?.postMessage(message);
}

parentPort?.on('message', (/** @type {import('./hashing.ts').HashOrder} */ order) => {
  try {
    answer({ id: order.id, hex: carryOut(order) });
  } catch (error) {
    const { message, code } = /** @type {NodeJS.ErrnoException} */ (error);
    answer({ id: order.id, error: { message, code } });
  }
});
