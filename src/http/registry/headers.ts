import type { CacheStatus, Staleness } from '../../mirror/answer/answers.ts';

/** The `Cache-Status` header (RFC 9211) for each way an answer can come about. */
const HEADER: Readonly<Record<CacheStatus, string>> = {
  hit: 'pierhead; hit',
  negative: 'pierhead; hit; detail=negative',
  stored: 'pierhead; fwd=uri-miss; stored',
  collapsed: 'pierhead; fwd=uri-miss; collapsed',
  revalidated: 'pierhead; fwd=stale; fwd-status=200',
  stale: 'pierhead; hit; detail=stale-if-error',
  miss: 'pierhead; fwd=uri-miss',
  bypass: 'pierhead; fwd=bypass',
  local: 'pierhead; detail=local',
};

export function cacheStatusHeader(status: CacheStatus): string {
  return HEADER[status];
}

/** Printable ASCII without what ends a quoted string; 4096 bytes are the limit (OCI distribution-spec, "Warnings"). */
const MAX_WARNING_LENGTH = 1000;

/**
 * `Warning` and `Age` of an answer that could not be checked. Podman, skopeo and crane print warnings of code 299,
 * and of no other (OCI distribution-spec, "Warnings").
 */
export function stalenessHeaders(stale: Staleness | undefined, now: number): Record<string, string> {
  if (stale === undefined) return {};
  const ageSeconds = Math.max(0, Math.round((now - stale.confirmedAt) / 1000));
  const text = `${stale.reason}; served from the cache, last confirmed ${formatAge(ageSeconds)} ago`;
  return { Warning: warning(text), Age: String(ageSeconds) };
}

export function warning(text: string): string {
  return `299 - "${headerText(text)}"`;
}

/** What of a text can stand in a header, quoted or not. */
export function headerText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]|["\\]/g, '').slice(0, MAX_WARNING_LENGTH);
}

function formatAge(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

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
