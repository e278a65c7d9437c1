import type { AnswerHeaders } from '../upstream.ts';

/** The parts of a `Content-Range` (RFC 9110 section 14.4); `end` is exclusive. */
export interface ContentRange {
  /** Absent if the range was unsatisfiable (`bytes *` + `/1234`). */
  readonly range?: { readonly start: number; readonly end: number };
  readonly total: number | undefined;
}

export function headerLines(headers: AnswerHeaders, name: string): readonly string[] {
  const value = headers[name];
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}

/** The value of a header; repeated lines are joined by commas. */
export function headerText(headers: AnswerHeaders, name: string): string | undefined {
  const value = headers[name];
  return value === undefined || typeof value === 'string' ? value : value.join(', ');
}

/** `Content-Length` in bytes; undefined if absent or malformed. */
export function contentLength(headers: AnswerHeaders): number | undefined {
  return wholeNumber(headerText(headers, 'content-length'));
}

/** `Content-Range`; undefined if absent or malformed. */
export function contentRange(headers: AnswerHeaders): ContentRange | undefined {
  const text = headerText(headers, 'content-range') ?? '';
  const match = /^bytes[ \t]+(?:(\d+)-(\d+)|\*)\/(?:(\d+)|\*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const total = wholeNumber(match[3]);
  const first = wholeNumber(match[1]);
  const last = wholeNumber(match[2]);
  if (first === undefined || last === undefined) return match[1] === undefined ? { total } : undefined;
  if (last < first || (total !== undefined && last >= total)) return undefined;
  return { range: { start: first, end: last + 1 }, total };
}

/** `Retry-After` (RFC 9110 section 10.2.3) in milliseconds from `nowMs`, given in seconds or as a date. */
export function retryAfterMs(headers: AnswerHeaders, nowMs = Date.now()): number | undefined {
  const text = headerText(headers, 'retry-after')?.trim() ?? '';
  const seconds = wholeNumber(text);
  if (seconds !== undefined) return seconds * 1000;
  const at = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** The pulls left by Docker Hub's `ratelimit-remaining: 20;w=21600`; the number may be missing. */
export function pullsRemaining(headers: AnswerHeaders): number | undefined {
  return wholeNumber(headerText(headers, 'ratelimit-remaining')?.split(';')[0]?.trim());
}

/**
 * True if another server answers in the registry's place: a captive portal, or a firewall that blocks. Registries
 * send no HTML with a success or a refusal. A 401 with a challenge is excepted: a web server before the registry may
 * ask for a login. HTML with a redirect says nothing: Go's `http.Redirect` adds it.
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

/** True if the body is HTML. */
export function isHtml(headers: AnswerHeaders): boolean {
  return /^\s*(?:text\/html|application\/xhtml\+xml)\b/i.test(headerText(headers, 'content-type') ?? '');
}

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}
