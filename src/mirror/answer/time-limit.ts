import { withinMs } from '../../lib/promises.ts';
import type { Repository } from '../../oci/reference.ts';
import type { Upstream } from '../../upstream/upstream.ts';

/** How long a client waits for upstream who could be served without. */
const PATIENCE_MS = 2000;

export type Waited<T> =
  | { readonly inTime: true; readonly value: T }
  /** `reason`: half a sentence for people. */
  | { readonly inTime: false; readonly reason: string };

/**
 * What `answer` of upstream comes to, for one who has something to serve without: he waits 2 s at most, and not at all
 * for an upstream that has kept others waiting and has answered nothing since. `answer` itself goes on.
 */
export async function withinTimeLimit<T>(
  answer: Promise<T>,
  upstream: Upstream,
  repository: Repository,
): Promise<Waited<T>> {
  const since = performance.now();
  const isSilent = upstream.isSilent(repository.name);
  const result = await withinMs(
    answer.then((value) => ({ value })),
    isSilent ? 0 : PATIENCE_MS,
  );
  if (result !== undefined) return { inTime: true, value: result.value };
  if (isSilent) return { inTime: false, reason: `${repository.host} has answered nothing for some seconds` };
  upstream.waitedInVain(since);
  return { inTime: false, reason: `${repository.host} did not answer within ${PATIENCE_MS / 1000} s` };
}
