import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Content } from '../fake/content.ts';
import { CLIENT_HEADERS } from './load.ts';

export interface BlobRead {
  readonly url: string;
  /** What ought to come. */
  readonly content: Content;
  /** No more than this is taken off the socket; without it, as fast as it comes. */
  readonly bytesPerSecond?: number;
  /** Ends the reader in the middle, as a client does that goes away. */
  readonly signal: AbortSignal;
}

/**
 * Reads a blob on a connection of its own and compares each byte with what it ought to be. Resolves to how many came:
 * all, unless `signal` ended it. Throws if a byte is wrong, or if the answer ends before its time.
 */
export async function readBlob({ url, content, bytesPerSecond, signal }: BlobRead): Promise<number> {
  const expected = content.reader();
  let bytes = 0;
  try {
    const outgoing = request(url, { headers: CLIENT_HEADERS, agent: false, signal }).end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`GET ${url}: ${response.statusCode}`);
    const startedAt = performance.now();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (!chunk.equals(expected(bytes, chunk.length))) {
        throw new Error(`GET ${url}: wrong bytes after ${bytes} right ones`);
      }
      bytes += chunk.length;
      const dueMs = bytesPerSecond === undefined ? 0 : (bytes / bytesPerSecond) * 1000;
      const aheadMs = dueMs - (performance.now() - startedAt);
      if (aheadMs > 0) await sleep(aheadMs, undefined, { signal });
    }
  } catch (error) {
    if (signal.aborted) return bytes;
    throw error;
  }
  if (bytes < content.size) throw new Error(`GET ${url}: ended after ${bytes} of ${content.size} bytes`);
  return bytes;
}
