import { withinMs } from '../../lib/promises.ts';
import type { Repository } from '../../oci/reference.ts';
import type { Upstream } from '../../upstream/upstream.ts';

/** How long a client waits for upstream if the cache could serve it. */
const PATIENCE_MS = 2000;

export type Waited<T> =
  | { readonly inTime: true; readonly value: T }
  /** `reason`: half a sentence for people. */
  | { readonly inTime: false; readonly reason: string };

/**
 * What `answer` of upstream comes to, for a caller that has something to serve without it. The wait is 2 s at most, and
 * none for a slow upstream. `answer` itself goes on.
 */
export async function withinTimeLimit<T>(
  answer: Promise<T>,
  upstream: Upstream,
  repository: Repository,
): Promise<Waited<T>> {
  const since = performance.now();
  const isSlow = upstream.isSlow(repository.name);
  const result = await withinMs(
    answer.then((value) => ({ value })),
    isSlow ? 0 : PATIENCE_MS,
  );
  if (result !== undefined) return { inTime: true, value: result.value };
  if (isSlow) return { inTime: false, reason: `${repository.host} has answered nothing for some seconds` };
  upstream.reportSlow(since);
  return { inTime: false, reason: `${repository.host} did not answer within ${PATIENCE_MS / 1000} s` };
}
