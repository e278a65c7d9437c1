import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { BundleReader } from '../bundle/bundle-reader.ts';
import { isSiteIndex, parseSiteIndex } from '../bundle/site-index.ts';
import type { Digest } from '../oci/digest.ts';

const BEGINNING_BYTES = 64;

/**
 * The blobs that the other side has by this file: an index that it wrote, or a bundle that it was given, of which the
 * beginning is enough. Throws BundleError, and the system's error.
 */
export async function blobsSince(path: string): Promise<ReadonlySet<Digest>> {
  if (isSiteIndex(await beginning(path))) return parseSiteIndex(await readFile(path, 'utf8'));
  const stream = createReadStream(path);
  try {
    const { contents } = await new BundleReader(stream as AsyncIterable<Buffer>, []).head();
    return new Set([...contents.blobs, ...contents.base].map(({ digest }) => digest));
  } finally {
    stream.destroy();
  }
}

async function beginning(path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { end: BEGINNING_BYTES - 1 }))
    chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
