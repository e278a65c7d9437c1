import type { TagAnswer, ReferrersAnswer } from '../../mirror/answer/answers.ts';
import { OCI_INDEX } from '../../oci/media-types.ts';
import { filterReferrers } from '../../oci/referrers.ts';
import { tagPage, tagPageQuery, type TagPage } from '../../oci/tag-page.ts';
import { RequestError } from './errors.ts';
import { sendBytes, type Exchange, namespaceHeader } from './exchange.ts';
import { cacheStatusHeader, warning, stalenessHeaders } from './headers.ts';

const DEFAULT_PAGE = 1000;

/** The requested page. Throws RequestError unless `n` is a number. */
export function pageQuery(query: URLSearchParams): TagPage {
  const page = tagPage(query);
  if (page.n !== undefined && !/^\d{1,6}$/.test(page.n))
    throw new RequestError(400, 'UNSUPPORTED', `n is "${page.n}"; set it to a number from 0 to 999999`);
  return page;
}

/** `GET /v2/<name>/tags/list` (OCI distribution-spec, "Listing Tags"). */
export function sendTags(exchange: Exchange, name: string, answer: TagAnswer): void {
  exchange.cache = answer.cache;
  sendList(exchange, {
    body: { name, tags: answer.tags },
    path: `/v2/${name}/tags/list`,
    next: answer.next,
    failure: answer.failure && `${answer.failure}; only cached tags are listed`,
  });
}

/**
 * `GET /v2/_catalog`: a page of the cached repositories. A name after the first `limit` ones means that a page follows.
 */
export function sendCatalog(exchange: Exchange, names: readonly string[], limit: number): void {
  const page = names.slice(0, limit);
  const last = page.at(-1);
  exchange.cache = 'hit';
  sendList(exchange, {
    body: { repositories: page },
    path: '/v2/_catalog',
    next: names.length > limit && last !== undefined ? { n: String(limit), last } : undefined,
    failure: undefined,
  });
}

export function catalogLimit(query: TagPage): number {
  return query.n === undefined ? DEFAULT_PAGE : Math.min(Number(query.n), DEFAULT_PAGE);
}

interface List {
  readonly body: object;
  readonly path: string;
  readonly next: TagPage | undefined;
  /** Why the list may lack names. */
  readonly failure: string | undefined;
}

function sendList(exchange: Exchange, list: List): void {
  sendBytes(exchange, 200, {
    headers: {
      'Content-Type': 'application/json',
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': cacheStatusHeader(exchange.cache),
      ...(list.next === undefined ? {} : { Link: nextLink(exchange, list.path, list.next) }),
      ...(list.failure === undefined ? {} : { Warning: warning(list.failure) }),
      ...namespaceHeader(exchange),
    },
    body: Buffer.from(`${JSON.stringify(list.body)}\n`),
  });
}

/** The `Link` header of the next page, on this mirror (RFC 8288). */
function nextLink(exchange: Exchange, path: string, next: TagPage): string {
  const query = tagPageQuery(next);
  if (exchange.namespace !== undefined) query.set('ns', exchange.namespace);
  return `<${path}?${query.toString()}>; rel="next"`;
}

/** `GET /v2/<name>/referrers/<digest>` (OCI distribution-spec, "Listing Referrers"). No artifact types: all. */
export function sendReferrers(
  exchange: Exchange,
  answer: ReferrersAnswer,
  artifactTypes: readonly string[],
): void {
  const { bytes, cache, stale, failure } = answer;
  const isFiltered = artifactTypes.length > 0;
  exchange.cache = cache;
  sendBytes(exchange, 200, {
    headers: {
      // Without a charset: go-containerregistry rejects any other value.
      'Content-Type': OCI_INDEX,
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': cacheStatusHeader(cache),
      ...(isFiltered ? { 'OCI-Filters-Applied': 'artifactType' } : {}),
      ...stalenessHeaders(stale, Date.now()),
      ...(failure === undefined
        ? {}
        : { Warning: warning(`${failure}; the referrers of this manifest are unknown`) }),
      ...(stale === undefined && failure === undefined ? {} : { 'Cache-Control': 'no-store' }),
      ...namespaceHeader(exchange),
    },
    body: isFiltered ? filterReferrers(bytes, artifactTypes) : bytes,
  });
}
