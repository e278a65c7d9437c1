import type { CacheStatus, Staleness } from '../../mirror/answer/answers.ts';

/** The `Cache-Status` header (RFC 9211). */
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

/** The limit is 4096 bytes for all warnings of a response (OCI distribution-spec, "Warnings"). */
const MAX_WARNING_LENGTH = 1000;

/**
 * `Warning` and `Age` of a stale answer. Podman, skopeo and crane print warnings only if their code is 299 (OCI
 * distribution-spec, "Warnings").
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

/** The characters of `text` that a header may contain, quoted or not. */
export function headerText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]|["\\]/g, '').slice(0, MAX_WARNING_LENGTH);
}

function formatAge(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** The entity tag is the digest in quotes, as on Docker Hub. */
export function etag(digest: string): string {
  return `"${digest}"`;
}

/** Whether `If-None-Match` names `digest` (RFC 9110 section 13.1.2, weak comparison). Quotes may be missing. */
export function isNotModified(ifNoneMatch: string | undefined, digest: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch
    .split(',')
    .map((candidate) => candidate.trim().replace(/^W\//, ''))
    .some((candidate) => candidate === '*' || candidate === digest || candidate === etag(digest));
}

/** Whether `Range` applies: `If-Range` must name `digest` by strong comparison (RFC 9110 section 13.1.5). */
export function isRangeValid(ifRange: string | string[] | undefined, digest: string): boolean {
  return ifRange === undefined || ifRange === etag(digest);
}
