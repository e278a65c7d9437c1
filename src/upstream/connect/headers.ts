import type { AnswerHeaders } from '../upstream.ts';

/** What a `Content-Range` states (RFC 9110 section 14.4); `end` is exclusive. */
export interface ContentRange {
  /** Absent when the range could not be satisfied (`bytes *` + `/1234`). */
  readonly range?: { readonly start: number; readonly end: number };
  readonly total?: number;
}

export function headerLines(headers: AnswerHeaders, name: string): readonly string[] {
  const value = headers[name];
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}

/** The value of a header, repeated lines joined by commas. */
export function headerText(headers: AnswerHeaders, name: string): string | undefined {
  const value = headers[name];
  return value === undefined || typeof value === 'string' ? value : value.join(', ');
}

/** `Content-Length` in bytes, or undefined if it is absent or malformed. */
export function contentLength(headers: AnswerHeaders): number | undefined {
  return wholeNumber(headerText(headers, 'content-length'));
}

/** `Content-Range`, or undefined if it is absent or malformed. */
export function contentRange(headers: AnswerHeaders): ContentRange | undefined {
  const text = headerText(headers, 'content-range') ?? '';
  const match = /^bytes[ \t]+(?:(\d+)-(\d+)|\*)\/(?:(\d+)|\*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const total = wholeNumber(match[3]);
  const first = wholeNumber(match[1]);
  const last = wholeNumber(match[2]);
  const told = total === undefined ? {} : { total };
  if (first === undefined || last === undefined) return match[1] === undefined ? told : undefined;
  if (last < first || (total !== undefined && last >= total)) return undefined;
  return { range: { start: first, end: last + 1 }, ...told };
}

/** `Retry-After` (RFC 9110 section 10.2.3) in milliseconds from `nowMs`, given in seconds or as a date. */
export function retryAfterMs(headers: AnswerHeaders, nowMs = Date.now()): number | undefined {
  const text = headerText(headers, 'retry-after')?.trim() ?? '';
  const seconds = wholeNumber(text);
  if (seconds !== undefined) return seconds * 1000;
  const at = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** The pulls that are left by Docker Hub's `ratelimit-remaining: 20;w=21600`; the number may be missing. */
export function pullsRemaining(headers: AnswerHeaders): number | undefined {
  return wholeNumber(headerText(headers, 'ratelimit-remaining')?.split(';')[0]?.trim());
}

/**
 * Whether somebody else answers in a registry's place: a captive portal, a firewall that blocks. Registries send no page
 * with a success, nor with a refusal, unless a web server in front of them asks for a login, by a challenge. With a redirect
 * one says nothing: Go's `http.Redirect`, by which registries send clients to where their blobs are, adds it.
 */
export function isForeign({
  status,
  headers,
}: {
  readonly status: number;
  readonly headers: AnswerHeaders;
}): boolean {
  if (!isHtml(headers)) return false;
  const isRefusal = status === 403 || (status === 401 && headers['www-authenticate'] === undefined);
  return status < 300 || isRefusal;
}

/** True if the body is a page for people. */
export function isHtml(headers: AnswerHeaders): boolean {
  return /^\s*(?:text\/html|application\/xhtml\+xml)\b/i.test(headerText(headers, 'content-type') ?? '');
}

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}
