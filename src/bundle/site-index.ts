import { parseDigest, type Digest } from '../oci/digest.ts';
import { BundleError } from './error.ts';

const FORM = 'pierhead index';
const VERSION = '1';
const END = 'end';

/**
 * The file with the blobs of a site: `pierhead index 1`, one digest a line in ascending order, and `end` with their number.
 * Without the last line, the file was cut short.
 */
export async function* renderSiteIndex(digests: Iterable<Digest>): AsyncGenerator<Buffer, void> {
  let text = `${FORM} ${VERSION}\n`;
  let count = 0;
  for (const digest of digests) {
    count++;
    text += `${digest}\n`;
    if (text.length < 65_536) continue;
    yield Buffer.from(text);
    text = '';
  }
  yield Buffer.from(`${text}${END} ${count}\n`);
}

/** Whether a file that begins with these bytes is an index of a site. */
export function isSiteIndex(beginning: Buffer): boolean {
  return beginning.toString('latin1', 0, FORM.length) === FORM;
}

/** Throws BundleError `version`, `cut-short`, `corrupt`. */
export function parseSiteIndex(text: string): Set<Digest> {
  const [head = '', ...lines] = text.split('\n');
  if (head !== `${FORM} ${VERSION}`) {
    const found = JSON.stringify(head.slice(0, 40));
    throw new BundleError(
      'version',
      `the index begins with ${found}; this Pierhead reads version ${VERSION}`,
    );
  }
  const end = lines.findIndex((line) => line.startsWith(`${END} `));
  const digests = new Set(lines.slice(0, Math.max(end, 0)).map(digestOf));
  if (end < 0 || lines[end] !== `${END} ${digests.size}`) {
    throw new BundleError('cut-short', 'the index of the other site is cut short');
  }
  return digests;
}

function digestOf(line: string, at: number): Digest {
  const digest = parseDigest(line);
  if (digest === undefined) throw new BundleError('corrupt', `line ${at + 2} of the index is not a digest`);
  return digest;
}
