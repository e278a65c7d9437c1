import { readWhole, type Answer } from '../connect/answer.ts';
import { headerText, isForeign, isHtml, pullsRemaining, retryAfterMs } from '../connect/headers.ts';
import type { TimeLimit } from '../connect/time-limit.ts';
import { limited, unavailable, UpstreamFailure } from '../upstream.ts';

/** The request of a response. */
export interface Asked {
  readonly kind: 'manifest' | 'blob' | 'tags' | 'referrers';
  readonly method: 'GET' | 'HEAD';
  /** The registry that was asked; redirects may lead elsewhere. */
  readonly registry: URL;
  readonly limit: TimeLimit;
  /** Called for a response that limits all requests, with the wait that it states, if any. */
  readonly onAbuseLimit: (answer: Answer, retryAfterMs: number | undefined) => void;
}

const MAX_MESSAGE_BYTES = 64 * 1024;

/** Throws the UpstreamFailure of a response, unless its status is `wanted`. */
export async function requireStatus(answer: Answer, asked: Asked, wanted: readonly number[]): Promise<void> {
  const { status, headers, url, body } = answer;
  // A registry without a manifest answers in JSON, so an HTML 404 is another server's. Web servers may answer so for
  // referrers.
  const isLostPage = status === 404 && isHtml(headers) && asked.kind !== 'referrers';
  if (isForeign(answer) || isLostPage) {
    await body.discard();
    const reason = `${url.host} answered with a page of HTML: check for a captive portal or a proxy that needs a login`;
    throw unavailable('not-a-registry', reason);
  }
  if (wanted.includes(status)) return;
  const limit = await limitOf(answer, asked);
  await body.discard();
  throw failureOf(answer, asked, limit);
}

/** The kind of limit, and the wait if stated. */
interface Limit {
  readonly scope: 'pulls' | 'abuse';
  readonly waitMs: number | undefined;
}

function failureOf(answer: Answer, asked: Asked, limit: Limit | undefined): UpstreamFailure {
  const { status, headers, url } = answer;
  if (limit !== undefined) {
    const { scope, waitMs } = limit;
    if (scope === 'abuse') asked.onAbuseLimit(answer, waitMs);
    return limited(scope, waitMs);
  }
  switch (status) {
    case 404:
      return new UpstreamFailure({
        kind: 'not-found',
        noStore: isNoStore(headerText(headers, 'cache-control')),
      });
    case 401:
    case 403:
      // An object store that rejects the registry's signature says nothing about the repository.
      if (asked.kind !== 'blob' || url.origin === asked.registry.origin) {
        return new UpstreamFailure({ kind: 'refused', status });
      }
      return unavailable(
        'server-error',
        `${url.host} answered ${status}, though the registry redirected to it`,
      );
    default:
      return unavailable(status >= 500 ? 'server-error' : 'not-a-registry', `${url.host} answered ${status}`);
  }
}

function isNoStore(cacheControl: string | undefined): boolean {
  return /(?:^|,)\s*no-store\s*(?:,|$)/i.test(cacheControl ?? '');
}

/**
 * The limit in a response; undefined: none. Docker Hub's pull limit concerns only manifest GETs and names itself; any
 * other limit counts as `abuse`. A 403 is a limit if its text or headers say so: `Retry-After`, or no requests left
 * (GitHub, "Rate limits for the REST API"). Then it says nothing about the repository.
 */
async function limitOf(answer: Answer, asked: Asked): Promise<Limit | undefined> {
  const { status, headers } = answer;
  if (status !== 429 && status !== 403) return undefined;
  const isManifestGet = asked.kind === 'manifest' && asked.method === 'GET';
  const told = retryAfterMs(headers);
  if (isManifestGet && pullsRemaining(headers) === 0) return { scope: 'pulls', waitMs: told };
  const message = await readWhole(answer, { maxBytes: MAX_MESSAGE_BYTES, limit: asked.limit }).catch(
    () => undefined,
  );
  const text = message?.toString('utf8') ?? '';
  if (isManifestGet && /pull rate limit/i.test(text)) return { scope: 'pulls', waitMs: told };
  const isToldByHeaders = told !== undefined || headerText(headers, 'x-ratelimit-remaining')?.trim() === '0';
  const isLimit = status === 429 || isToldByHeaders || /rate limit|too ?many requests/i.test(text);
  return isLimit ? { scope: 'abuse', waitMs: told ?? waitInText(text) } : undefined;
}

const UNIT_MS: Readonly<Record<string, number>> = { µs: 0.001, ms: 1, s: 1000 };

/** `retry-after: 1.16676ms`, which ghcr.io sends only in the message (falcosecurity/plugins#1069). */
function waitInText(text: string): number | undefined {
  const [, count = '', unit = ''] = /\bretry-after: (\d{1,6}(?:\.\d{1,9})?)(µs|ms|s)\b/i.exec(text) ?? [];
  const unitMs = UNIT_MS[unit.toLowerCase()];
  return unitMs === undefined ? undefined : Math.ceil(Number(count) * unitMs);
}
