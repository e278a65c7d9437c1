/*
 * The thread of bcrypt-thread.ts. Plain JavaScript, because a thread is started from a file as it is, which Node 20 can
 * only do with JavaScript, and tests run the sources.
 */
import { compareSync } from 'bcryptjs';
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', (/** @type {import('./passwords.ts').BcryptOrder} */ { id, password, hashes }) => {
  parentPort?.postMessage({ id, at: hashes.findIndex((hash) => compareSync(password, hash)) });
});
