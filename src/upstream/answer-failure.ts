import { headerText, isForeign, isHtml, pullsRemaining, retryAfterMs } from './answer-headers.ts';
import { readWhole, type Answer } from './answer.ts';
import { limited, unavailable, UpstreamFailure } from './outcome.ts';
import type { TimeLimit } from './time-limit.ts';

/** What an answer is the answer to. */
export interface Asked {
  readonly kind: 'manifest' | 'blob' | 'tags' | 'referrers';
  readonly method: 'GET' | 'HEAD';
  /** Whom the question was for; redirects may have led elsewhere. */
  readonly registry: URL;
  readonly limit: TimeLimit;
  /** Told of an answer that limits requests of any kind, and of how long to wait if it says so. */
  readonly onAbuseLimit: (answer: Answer, retryAfterMs: number | undefined) => void;
}

const MAX_MESSAGE_BYTES = 64 * 1024;

/** Throws the UpstreamFailure that an answer stands for, unless it has one of the `wanted` statuses. */
export async function requireStatus(answer: Answer, asked: Asked, wanted: readonly number[]): Promise<void> {
  const { status, headers, url, body } = answer;
  // Static web servers have no page of referrers; that a registry has no manifest it says in JSON.
  const isLostPage = status === 404 && isHtml(headers) && asked.kind !== 'referrers';
  if (isForeign(answer) || isLostPage) {
    await body.discard();
    const reason = `${url.host} answered with a page of HTML: a captive portal or a proxy that wants a login?`;
    throw unavailable('not-a-registry', reason);
  }
  if (wanted.includes(status)) return;
  const isPulls = status === 429 && (await isPullLimit(answer, asked));
  await body.discard();
  throw failureOf(answer, asked, isPulls);
}

function failureOf(answer: Answer, asked: Asked, isPulls: boolean): UpstreamFailure {
  const { status, headers, url } = answer;
  switch (status) {
    case 404:
      return new UpstreamFailure({
        kind: 'not-found',
        noStore: isNoStore(headerText(headers, 'cache-control')),
      });
    case 401:
    case 403:
      // An object store that does not accept the registry's signature says nothing about the repository.
      if (asked.kind !== 'blob' || url.origin === asked.registry.origin) {
        return new UpstreamFailure({ kind: 'refused', status });
      }
      return unavailable('server-error', `${url.host} answered ${status}, though the registry sent us there`);
    case 429:
      if (!isPulls) asked.onAbuseLimit(answer, retryAfterMs(headers));
      return limited(isPulls ? 'pulls' : 'abuse', retryAfterMs(headers));
    default:
      return unavailable(status >= 500 ? 'server-error' : 'not-a-registry', `${url.host} answered ${status}`);
  }
}

function isNoStore(cacheControl: string | undefined): boolean {
  return /(?:^|,)\s*no-store\s*(?:,|$)/i.test(cacheControl ?? '');
}

/**
 * Docker Hub's limit on pulls, which concerns nothing but manifest GETs and says so, or its limit on requests of any
 * kind, of which nothing is known but that it is one.
 */
async function isPullLimit(answer: Answer, asked: Asked): Promise<boolean> {
  if (asked.kind !== 'manifest' || asked.method !== 'GET') return false;
  if (pullsRemaining(answer.headers) === 0) return true;
  const { limit } = asked;
  const message = await readWhole(answer, { maxBytes: MAX_MESSAGE_BYTES, limit }).catch(() => undefined);
  return message !== undefined && /pull rate limit/i.test(message.toString('latin1'));
}
