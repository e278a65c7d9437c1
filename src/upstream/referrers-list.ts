import { MAX_MANIFEST_BYTES, ManifestInvalidError, parseManifest } from '../oci/manifest.ts';
import { bareMediaType, OCI_INDEX } from '../oci/media-types.ts';
import { referrersIn, withReferrers } from '../oci/referrers.ts';
import { headerLines, headerText } from './answer-headers.ts';
import { readWhole, type Answer } from './answer.ts';
import { nextLinks } from './tag-list.ts';
import { unavailable } from './outcome.ts';
import type { TimeLimit } from './time-limit.ts';
import type { ReferrersList } from './upstream.ts';

/** An image has a handful of referrers; registries put some hundred on a page. */
const MAX_PAGES = 20;

/**
 * What refers to a manifest, from all pages (OCI distribution-spec, "Listing Referrers"). `ask` gets a page by the
 * query that names it. Throws UpstreamFailure.
 */
export async function readReferrers(
  ask: (query: string) => Promise<Answer>,
  limit: TimeLimit,
): Promise<ReferrersList> {
  const first = await ask('');
  const bytes = await readPage(first, limit);
  let next = nextQuery(first);
  if (next === undefined) return { bytes };
  const entries = [...referrersIn(bytes)];
  for (let pages = 1; next !== undefined && pages < MAX_PAGES; pages++) {
    const answer = await ask(next);
    entries.push(...referrersIn(await readPage(answer, limit)));
    next = nextQuery(answer);
  }
  const all = withReferrers(bytes, entries);
  if (next === undefined && isReferrersIndex(all)) return { bytes: all };
  throw unavailable('not-a-registry', `${first.url.host} lists more referrers than can be kept`);
}

async function readPage(answer: Answer, limit: TimeLimit): Promise<Buffer> {
  const { url, headers } = answer;
  const bytes = await readWhole(answer, { maxBytes: MAX_MANIFEST_BYTES, limit });
  const mediaType = bareMediaType(headerText(headers, 'content-type') ?? '');
  if (mediaType === OCI_INDEX && isReferrersIndex(bytes)) return bytes;
  throw unavailable('not-a-registry', `${url.host} answered with something that is not a list of referrers`);
}

function isReferrersIndex(bytes: Buffer): boolean {
  if (bytes.length > MAX_MANIFEST_BYTES) return false;
  try {
    parseManifest(bytes, OCI_INDEX);
    return true;
  } catch (error) {
    if (error instanceof ManifestInvalidError) return false;
    throw error;
  }
}

/** Only a page of the same list counts: what a query says is upstream's business, where it is sent is not. */
function nextQuery(answer: Answer): string | undefined {
  for (const target of nextLinks(headerLines(answer.headers, 'link'), answer.url)) {
    if (target.origin === answer.url.origin && target.pathname === answer.url.pathname) return target.search;
  }
  return undefined;
}
