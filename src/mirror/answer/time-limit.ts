import { withinMs } from '../../lib/promises.ts';
import type { Repository } from '../../oci/reference.ts';
import type { Upstream } from '../../upstream/upstream.ts';

/** When every answer begins. Clients have a time limit of 10 to 30 s, or none. */
export const ANSWER_WITHIN_MS = 9500;
/** Time limit for upstream if the answer is cached. */
const LIMIT_MS = 2000;

export type Waited<T> =
  | { readonly inTime: true; readonly value: T }
  /** `reason` is a clause without a full stop. */
  | { readonly inTime: false; readonly reason: string };

/**
 * Waits for `answer` of upstream at most 2 s, and not at all while upstream is slow. For callers with a cached answer.
 * `answer` itself goes on.
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
    isSlow ? 0 : LIMIT_MS,
  );
  if (result !== undefined) return { inTime: true, value: result.value };
  if (isSlow) return { inTime: false, reason: `${repository.host} has answered nothing for some seconds` };
  upstream.reportSlow(since);
  return { inTime: false, reason: `${repository.host} did not answer within ${LIMIT_MS / 1000} s` };
}
