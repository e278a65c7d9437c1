import { JsonReader, type JsonLimits, listOf, objectOf, SCALAR } from '../../lib/json.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import {
  MAX_MANIFEST_BYTES,
  type Descriptor,
  ManifestInvalidError,
  parseManifest,
} from '../../oci/manifest.ts';
import { bareMediaType, OCI_INDEX } from '../../oci/media-types.ts';
import { referrersIn, withReferrers } from '../../oci/referrers.ts';
import { tagPage, type TagPage } from '../../oci/tag-page.ts';
import { readWhole, type Answer } from '../connect/answer.ts';
import { contentLength, headerText, headerLines } from '../connect/headers.ts';
import type { TimeLimit } from '../connect/time-limit.ts';
import {
  type AnswerHeaders,
  type FetchedManifest,
  unavailable,
  type TagList,
  UpstreamFailure,
  type ReferrersList,
} from '../upstream.ts';

/** The descriptor in the headers of a manifest; undefined if incomplete. Size 0 is no size: old zot sends it. */
export function descriptorOf(headers: AnswerHeaders): Descriptor | undefined {
  const digest = statedDigest(headers);
  const mediaType = statedType(headers);
  const size = contentLength(headers);
  if (digest === undefined || mediaType === '' || size === undefined || size === 0) return undefined;
  return { digest, mediaType, size };
}

/** Throws UpstreamFailure if the body is too long or breaks off. */
export async function readManifest(answer: Answer, limit: TimeLimit): Promise<FetchedManifest> {
  const bytes = await readWhole(answer, { maxBytes: MAX_MANIFEST_BYTES, limit });
  return { mediaType: statedType(answer.headers), bytes, digest: statedDigest(answer.headers) };
}

function statedDigest(headers: AnswerHeaders): Digest | undefined {
  return parseDigest(headerText(headers, 'docker-content-digest')?.trim() ?? '');
}

function statedType(headers: AnswerHeaders): string {
  return bareMediaType(headerText(headers, 'content-type') ?? '');
}

/** Some registries send all tags at once: 16 MiB hold 200,000. */
const MAX_TAG_LIST_BYTES = 16 * 1024 * 1024;
const LIMITS: JsonLimits = { maxDepth: 32, maxValues: 500_000, maxKeys: 5000 };
const TAGS = objectOf({ name: SCALAR, tags: listOf(SCALAR) });
const LINK = /<([^<>]*)>([^<>]*)/g;
/** Without brackets, as old versions of zot send it (project-zot/zot, `ListTags`). */
const BARE_LINK = /^\s*([^\s<>;,]+)\s*(;[^<>]*)$/;

/** The largest page of ECR, which answers 405 to more. Any registry may send fewer tags than asked for. */
const MAX_PAGE = 1000;

/** A smaller page to try after a refused one; undefined: none. */
export function smallerPage(page: TagPage, { status }: Answer): TagPage | undefined {
  const isRefused = [400, 405, 406, 413, 414, 416, 422].includes(status);
  return isRefused && Number(page.n) > MAX_PAGE ? { ...page, n: String(MAX_PAGE) } : undefined;
}

/** The page of tags in a response (OCI distribution-spec, "Listing Tags"). Throws UpstreamFailure. */
export async function readTagList(answer: Answer, limit: TimeLimit): Promise<TagList> {
  const { url, headers } = answer;
  const body = await readWhole(answer, { maxBytes: MAX_TAG_LIST_BYTES, limit });
  const tags = parseTags(body);
  if (tags === undefined) {
    throw unavailable('not-a-registry', `${url.host} did not answer with a list of tags`);
  }
  return { tags, next: nextPage(headerLines(headers, 'link'), url) };
}

/** distribution sends `"tags": null` for a repository without any. */
function parseTags(body: Buffer): readonly string[] | undefined {
  let document: unknown;
  try {
    document = new JsonReader(body, LIMITS).read(TAGS);
  } catch {
    return undefined;
  }
  if (typeof document !== 'object' || document === null) return undefined;
  const tags = 'tags' in document ? document.tags : undefined;
  if (!('name' in document) && tags === undefined) return undefined;
  if (tags === null || tags === undefined) return [];
  return isTextList(tags) ? tags : undefined;
}

function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/**
 * The page that a `Link` of relation `next` names (RFC 8288), relative to `from`; undefined if there is none. Some
 * registries name pages by parameters of their own (quay.io by `next_page`).
 */
export function nextPage(lines: readonly string[], from: URL): TagPage | undefined {
  for (const { searchParams } of nextLinks(lines, from)) {
    const page = tagPage(searchParams);
    if (page.last !== undefined || page.more !== undefined) return page;
  }
  return undefined;
}

/** The targets of links of relation `next` (RFC 8288), relative to `from`. */
export function nextLinks(lines: readonly string[], from: URL): URL[] {
  const links = lines.flatMap((line) => {
    const bare = BARE_LINK.exec(line);
    return bare === null ? [...line.matchAll(LINK)] : [bare];
  });
  return links.flatMap(([, target = '', parameters = '']) => {
    const isNext = /;\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")/i.test(parameters);
    return isNext && URL.canParse(target, from.href) ? [new URL(target, from)] : [];
  });
}

/** An image has a handful of referrers; a page holds some hundred. */
const MAX_PAGES = 20;
/** Statuses of registries without a referrers API, besides 404 (oras-project/oras-java#773, sigstore/cosign#4641). */
const REFUSALS: readonly number[] = [400, 405, 406, 501];

/** A failure that makes clients use the referrers tag schema. */
export function noReferrersApi(cause?: unknown): UpstreamFailure {
  return new UpstreamFailure({ kind: 'not-found', noStore: false }, cause);
}

/**
 * Throws UpstreamFailure, and discards the body, if a response shows that the registry has no referrers API. A
 * response from another path is none: ghcr.io redirects to a page of its web site, which has limits of its own
 * (artifacthub/hub#4785).
 */
export async function requireReferrersApi(answer: Answer, digest: Digest): Promise<void> {
  const { url, status, body } = answer;
  const isAsked = url.pathname.replaceAll(/%3a/gi, ':').endsWith(`/referrers/${digest}`);
  if (isAsked && !REFUSALS.includes(status)) return;
  await body.discard();
  if (isAsked) throw noReferrersApi();
  throw unavailable('not-a-registry', `${url.host} did not answer with a list of referrers`);
}

/** True for responses of web applications to unknown paths, and of captive portals to all paths. */
export function isNoList(error: unknown): boolean {
  if (!(error instanceof UpstreamFailure)) return false;
  const { failure } = error;
  return failure.kind === 'unavailable' && failure.cause === 'not-a-registry' && failure.spared !== true;
}

/**
 * The referrers of a manifest from all pages (OCI distribution-spec, "Listing Referrers"). `ask` requests a page by
 * its query. Throws UpstreamFailure.
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
  throw unavailable(
    'not-a-registry',
    `${first.url.host} lists more than ${MAX_PAGES} pages or 4 MiB of referrers`,
  );
}

async function readPage(answer: Answer, limit: TimeLimit): Promise<Buffer> {
  const { url, headers } = answer;
  const bytes = await readWhole(answer, { maxBytes: MAX_MANIFEST_BYTES, limit });
  const mediaType = bareMediaType(headerText(headers, 'content-type') ?? '');
  if (mediaType === OCI_INDEX && isReferrersIndex(bytes)) return bytes;
  throw unavailable('not-a-registry', `${url.host} did not answer with a list of referrers`);
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

/** Follows only pages of the same list: the upstream chooses the query, not where it is sent. */
function nextQuery(answer: Answer): string | undefined {
  for (const target of nextLinks(headerLines(answer.headers, 'link'), answer.url)) {
    if (target.origin === answer.url.origin && target.pathname === answer.url.pathname) return target.search;
  }
  return undefined;
}
