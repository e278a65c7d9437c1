import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, ManifestInvalidError, parseManifest } from '../oci/manifest.ts';
import { bareMediaType, OCI_INDEX } from '../oci/media-types.ts';
import { referrersIn, withReferrers } from '../oci/referrers.ts';
import { headerLines, headerText } from './answer-headers.ts';
import { readWhole, type Answer } from './answer.ts';
import { nextLinks } from './tag-list.ts';
import { unavailable, UpstreamFailure } from './outcome.ts';
import type { TimeLimit } from './time-limit.ts';
import type { ReferrersList } from './upstream.ts';

/** An image has a handful of referrers; registries put some hundred on a page. */
const MAX_PAGES = 20;
/** How registries say that they have no referrers API, beside 404 (oras-project/oras-java#773, sigstore/cosign#4641). */
const REFUSALS: readonly number[] = [400, 405, 406, 501];

/** What sends clients on to the referrers tag schema. */
export function noReferrersApi(cause?: unknown): UpstreamFailure {
  return new UpstreamFailure({ kind: 'not-found', noStore: false }, cause);
}

/**
 * Throws UpstreamFailure, and discards the body, if a registry has no referrers API by its answer. One that comes from
 * another place is no answer: ghcr.io redirects to a page of its web site, which has limits of its own
 * (artifacthub/hub#4785).
 */
export async function requireReferrersApi(answer: Answer, digest: Digest): Promise<void> {
  const { url, status, body } = answer;
  const isAsked = url.pathname.replaceAll(/%3a/gi, ':').endsWith(`/referrers/${digest}`);
  if (isAsked && !REFUSALS.includes(status)) return;
  await body.discard();
  if (isAsked) throw noReferrersApi();
  throw unavailable('not-a-registry', `a page of ${url.host} was answered in place of a list of referrers`);
}

/** Web applications answer to paths that they do not know by a page of their own; captive portals to all paths. */
export function isNoList(error: unknown): boolean {
  if (!(error instanceof UpstreamFailure)) return false;
  const { failure } = error;
  return failure.kind === 'unavailable' && failure.cause === 'not-a-registry' && failure.spared !== true;
}

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
