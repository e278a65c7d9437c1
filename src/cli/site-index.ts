import { readContent } from '../app.ts';
import { renderSiteIndex } from '../bundle/site-index.ts';
import type { Flags } from '../config/flags.ts';
import type { LoadedSettings } from '../config/load.ts';
import type { Digest } from '../oci/digest.ts';
import { writeStream } from './stream-output.ts';
import { hasData } from './operation.ts';
import { outputOf } from './output-flags.ts';
import type { ExitCode } from './serve.ts';
import { untilSignal } from './signals.ts';

/** Writes which blobs this site has, for bundles that leave them out. */
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
