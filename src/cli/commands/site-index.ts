import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { readContent } from '../../app/app.ts';
import { BundleReader } from '../../bundle/reader.ts';
import { renderSiteIndex, isSiteIndex, parseSiteIndex } from '../../bundle/site-index.ts';
import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import type { Digest } from '../../oci/digest.ts';
import { writeStream, outputOf } from '../bundle-output.ts';
import type { ExitCode } from '../exit.ts';
import { hasData, untilSignal } from '../operation.ts';

/** Writes the digests of the cached blobs, for `export --since` at another site. */
export async function siteIndex({ settings }: LoadedSettings, flags: Flags): Promise<ExitCode> {
  const path = outputOf(flags);
  const hasAny = await hasData(settings.dataDir);
  await untilSignal((signal) => {
    const write = (blobs: Iterable<Digest>) =>
      writeStream(renderSiteIndex(blobs), { path, partBytes: undefined, signal });
    return hasAny ? readContent(settings.dataDir, (content) => write(content.blobs())) : write([]);
  });
  return 0;
}

const BEGINNING_BYTES = 64;

/**
 * The blobs that the other site has: its index, or the blobs of an earlier bundle, of which only the first files are read.
 * Throws BundleError, and the system's error.
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
