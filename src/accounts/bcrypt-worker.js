/*
 * The thread of BcryptThread (passwords.ts). Node 20 starts a thread only from JavaScript, and tests run the sources. So
 * this file is not TypeScript.
 */
import { compareSync } from 'bcryptjs';
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', (/** @type {import('./passwords.ts').BcryptOrder} */ { id, password, hashes }) => {
  parentPort?.postMessage({ id, at: hashes.findIndex((hash) => compareSync(password, hash)) });
});
