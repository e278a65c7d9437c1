/** The entity tag of content that its digest names; quoted, as Docker Hub does. */
export function etag(digest: string): string {
  return `"${digest}"`;
}

/** Whether `If-None-Match` names this content (RFC 9110 section 13.1.2, weak comparison). Unquoted digests are taken too. */
export function isNotModified(ifNoneMatch: string | undefined, digest: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch
    .split(',')
    .map((candidate) => candidate.trim().replace(/^W\//, ''))
    .some((candidate) => candidate === '*' || candidate === digest || candidate === etag(digest));
}

/** Whether a `Range` counts: an `If-Range` must name this content strongly (RFC 9110 section 13.1.5). */
export function isRangeValid(ifRange: string | string[] | undefined, digest: string): boolean {
  return ifRange === undefined || ifRange === etag(digest);
}
