import type { Exchange } from './http/exchange.ts';
import { logExchange } from './log/access-log.ts';
import type { Logger } from './log/log.ts';
import type { Metrics } from './metrics/metrics.ts';
import type { Digest } from './oci/digest.ts';
import { repositoryKey } from './oci/reference.ts';
import type { BlobPullerOptions } from './pull/blob-puller.ts';
import type { ContentCareOptions } from './pull/content-care.ts';

/** What becomes of an event: a line in the log, a count in the metrics. */

export function fillReporter(log: Logger, metrics: Metrics): BlobPullerOptions['onFillEnd'] {
  return ({ repository, digest, error, ...end }) => {
    metrics.fillEnded(end);
    const line = { upstream: repository.host, repository: repositoryKey(repository), digest, ...end };
    if (end.result === 'stored') log.debug(line, 'fill');
    else log.warn({ ...line, reason: error instanceof Error ? error.message : undefined }, 'fill');
  };
}

export function diskReporter(log: Logger): (error: Error | undefined) => void {
  return (error) => {
    if (error === undefined) log.info('the disk takes blobs again');
    else log.error({ reason: error.message }, 'the disk refuses blobs: they are passed on and not kept');
  };
}

export function lossReporter(log: Logger, metrics: Metrics): (digest: Digest, problem: string) => void {
  return (digest, problem) => {
    metrics.blobFault({ problem, found_by: 'request', outcome: 'removed' });
    log.warn({ digest, problem }, 'blob lost');
  };
}

export function findingReporter(log: Logger, metrics: Metrics): ContentCareOptions['onFinding'] {
  return ({ content, digest, problem, outcome, repositories, reason }, foundBy) => {
    if (content === 'blob') metrics.blobFault({ problem, found_by: foundBy, outcome });
    log.warn({ content, digest, problem, outcome, repositories, reason, foundBy }, 'bad content');
  };
}

export function reportExchange(exchange: Exchange, log: Logger, metrics: Metrics): void {
  logExchange(log, exchange);
  metrics.request({
    kind: exchange.kind,
    status: exchange.response.statusCode,
    cache: exchange.cache,
    bytes: exchange.bytes,
    durationMs: performance.now() - exchange.startedAt,
  });
}
