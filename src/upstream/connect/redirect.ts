import { redactUrl } from '../../lib/text.ts';
import { unavailable } from '../upstream.ts';
import type { Answer } from './answer.ts';
import { headerText } from './headers.ts';
import type { TransportRequest } from './transport.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/** Sends one request to the host of its URL. Throws UpstreamFailure. */
export type Send = (request: TransportRequest) => Promise<Answer>;

export interface FollowOptions {
  readonly onFirst?: (answer: Answer) => void;
  /** The `Authorization` for another origin, which never gets the first one's. */
  readonly elsewhere?: (url: URL) => Promise<string | undefined>;
}

/**
 * Sends a request and follows redirects by the same method. `Authorization` is dropped forever when the origin
 * changes: object stores reject it, and must not read it. Throws UpstreamFailure.
 */
export async function sendFollowing(
  send: Send,
  request: TransportRequest,
  options: FollowOptions = {},
): Promise<Answer> {
  let next = request;
  for (let redirects = 0; ; redirects++) {
    const answer = await send(next);
    if (redirects === 0) options.onFirst?.(answer);
    if (!REDIRECTS.includes(answer.status)) return answer;
    await answer.body.discard();
    if (redirects === MAX_REDIRECTS) {
      throw unavailable('not-a-registry', `${request.url.host} redirected more than ${MAX_REDIRECTS} times`);
    }
    const url = redirectTarget(answer.url, headerText(answer.headers, 'location'));
    const { authorization, ...others } = next.headers;
    const keeps = authorization !== undefined && url.origin === next.url.origin;
    const sent = keeps ? authorization : await options.elsewhere?.(url);
    next = { ...next, url, headers: sent === undefined ? others : { ...others, authorization: sent } };
  }
}

/**
 * The target of a `Location` (RFC 9110 section 10.2.2), relative to `from`. Throws UpstreamFailure if it is missing
 * or malformed, or leads from https to http.
 */
export function redirectTarget(from: URL, raw: string | undefined): URL {
  // Node gives each byte of a header as one character. Servers that send UTF-8 mean these bytes (RFC 9110 section
  // 5.5).
  const location = raw?.replaceAll(
    /[\x80-\xff]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  if (location === undefined || location === '' || !URL.canParse(location, from.href)) {
    throw unavailable('not-a-registry', `${from.host} redirected without a valid Location`);
  }
  const url = new URL(location, from);
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && from.protocol === 'http:');
  if (!isSafe) {
    throw unavailable('not-a-registry', `${from.host} redirected to ${redactUrl(url)}, which is not https`);
  }
  return url;
}
