import { redactUrl } from '../../lib/text.ts';
import { unavailable } from '../upstream.ts';
import type { Answer } from './answer.ts';
import { headerText } from './headers.ts';
import type { TransportRequest } from './transport.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/** Sends one request to whom its URL names. Throws UpstreamFailure. */
export type Send = (request: TransportRequest) => Promise<Answer>;

export interface FollowOptions {
  readonly onFirst?: (answer: Answer) => void;
  /** The `Authorization` that another origin asks for, which has nothing to do with the one that stays behind. */
  readonly elsewhere?: (url: URL) => Promise<string | undefined>;
}

/**
 * Sends a request and goes where the answers point, by the same method. `Authorization` stays behind when the origin
 * changes, for good: object stores reject it, and it is none of their business. Throws UpstreamFailure.
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
 * Where a `Location` points (RFC 9110 section 10.2.2), seen from `from`. Throws UpstreamFailure if it is missing or
 * malformed, or would turn https into something that others can read or change.
 */
export function redirectTarget(from: URL, raw: string | undefined): URL {
  // Headers come as one character a byte; whoever writes UTF-8 into them means these bytes (RFC 9110 section 5.5).
  const location = raw?.replaceAll(
    /[\x80-\xff]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  if (location === undefined || location === '' || !URL.canParse(location, from.href)) {
    throw unavailable('not-a-registry', `${from.host} redirected to nowhere`);
  }
  const url = new URL(location, from);
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && from.protocol === 'http:');
  if (!isSafe) {
    throw unavailable('not-a-registry', `${from.host} redirected to ${redactUrl(url)}, which is not https`);
  }
  return url;
}
