import { MAX_MANIFEST_BYTES, ManifestInvalidError, parseManifest } from '../oci/manifest.ts';
import { bareMediaType, OCI_INDEX } from '../oci/media-types.ts';
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
  const index = JSON.parse(bytes.toString('utf8')) as { readonly manifests: readonly unknown[] };
  const manifests = [...index.manifests];
  for (let pages = 1; next !== undefined && pages < MAX_PAGES; pages++) {
    const answer = await ask(next);
    const page = JSON.parse((await readPage(answer, limit)).toString('utf8')) as typeof index;
    manifests.push(...page.manifests);
    next = nextQuery(answer);
  }
  const all = Buffer.from(JSON.stringify({ ...index, manifests }));
  if (next === undefined && all.length <= MAX_MANIFEST_BYTES) return { bytes: all };
  throw unavailable('not-a-registry', `${first.url.host} lists more referrers than can be kept`);
}

async function readPage(answer: Answer, limit: TimeLimit): Promise<Buffer> {
  const { url, headers } = answer;
  const bytes = await readWhole(answer, { maxBytes: MAX_MANIFEST_BYTES, limit });
  try {
    if (bareMediaType(headerText(headers, 'content-type') ?? '') === OCI_INDEX) {
      parseManifest(bytes, OCI_INDEX);
      return bytes;
    }
  } catch (error) {
    if (!(error instanceof ManifestInvalidError)) throw error;
  }
  throw unavailable('not-a-registry', `${url.host} answered with something that is not a list of referrers`);
}

/** Only a page of the same list counts: what a query says is upstream's business, where it is sent is not. */
function nextQuery(answer: Answer): string | undefined {
  for (const target of nextLinks(headerLines(answer.headers, 'link'), answer.url)) {
    if (target.origin === answer.url.origin && target.pathname === answer.url.pathname) return target.search;
  }
  return undefined;
}
