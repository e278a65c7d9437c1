import { answerStatus, type Exchange, type Unreadable } from '../http/registry/exchange.ts';
import type { HttpServerOptions } from '../http/server/server.ts';
import { errorCode } from '../lib/errors.ts';
import { logExchange } from '../log/events.ts';
import type { Logger } from '../log/log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { BlobPullerOptions } from '../mirror/blob/blobs.ts';
import type { Digest } from '../oci/digest.ts';
import { repositoryKey } from '../oci/reference.ts';
import type { BundleImportOptions } from '../operations/bundle/import.ts';
import type { ScrubScheduleOptions } from '../operations/verify/schedule.ts';
import type { DamagedIndex } from '../store/index/inspection.ts';

/** How long nothing more is said of connections over a limit. */
const QUIET_MS = 60_000;

/** What becomes of an event: a line in the log, a count in the metrics. */

/** What has been removed: manifests, and blobs with their sizes. */
interface Removal {
  readonly manifests: ReadonlySet<Digest>;
  readonly blobs: ReadonlyMap<Digest, number>;
}

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

export function roomReporter(log: Logger): (isCramped: boolean) => void {
  return (isCramped) => {
    if (isCramped) log.warn('disk full');
    else log.info('disk has room again');
  };
}

export function lossReporter(log: Logger, metrics: Metrics): (digest: Digest, problem: string) => void {
  return (digest, problem) => {
    const outcome = problem === 'unreadable' ? 'found' : 'removed';
    metrics.blobFault({ problem, found_by: 'request', outcome });
    log.warn({ digest, problem }, outcome === 'found' ? 'the disk cannot read a blob' : 'blob lost');
  };
}

export function findingReporter(log: Logger, metrics: Metrics): ScrubScheduleOptions['onFinding'] {
  return ({ content, digest, problem, outcome, repositories, images, reason }, foundBy) => {
    if (content === 'blob') metrics.blobFault({ problem, found_by: foundBy, outcome });
    log.warn({ content, digest, problem, outcome, repositories, images, reason, foundBy }, 'bad content');
  };
}

export function importReporter(log: Logger): BundleImportOptions['onImported'] {
  return ({ images, stored, known, signature, isPinned, durationMs }) => {
    const names = images.map(({ image }) => image);
    log.info(
      { images: names, stored, known: known.blobs, signature, isPinned, durationMs },
      'bundle imported',
    );
  };
}

export function removalReporter(log: Logger, metrics: Metrics): (removed: Removal, reason: string) => void {
  return ({ manifests, blobs }, reason) => {
    let bytes = 0;
    for (const size of blobs.values()) bytes += size;
    if (manifests.size === 0 && blobs.size === 0) return;
    metrics.removed({ reason, manifests: manifests.size, blobs: blobs.size, bytes });
    log.debug({ reason, manifests: [...manifests], blobs: blobs.size, bytes }, 'removed');
  };
}

export function indexReporter(log: Logger, metrics: Metrics) {
  return {
    onError: (error: unknown): void => {
      const code = errorCode(error);
      metrics.indexError(code ?? 'other');
      if (code === undefined) log.error({ err: error }, 'internal error');
    },
    onChange: (isFailing: boolean): void => {
      if (isFailing) log.error('the disk refuses the index: what is learnt is kept in memory only');
      else log.info('the disk takes the index again');
    },
    /** At the start. */
    onDamaged: ({ reason, keptAs }: DamagedIndex): void => {
      log.error({ reason, keptAs }, 'damaged index set aside: a new one is made from the cached blobs');
    },
    /** While it is open. */
    onProblem: (reason: string): void => {
      log.error({ reason }, 'index damaged: restart pierhead to make a new one');
    },
    onRebuilt: (): void => {
      log.info('the index knows all cached blobs again');
    },
  };
}

export function reportExchange(exchange: Exchange, log: Logger, metrics: Metrics): void {
  logExchange(log, exchange);
  metrics.request({
    kind: exchange.kind,
    status: answerStatus(exchange),
    cache: exchange.cache,
    bytes: exchange.bytes,
    durationMs: performance.now() - exchange.startedAt,
  });
}

/** Many connections over a limit are one event; each failed handshake is one of its own. */
export function connectionReporter(log: Logger, metrics: Metrics): HttpServerOptions['onRefused'] {
  const told = new Map<string, number>();
  return (why, client, error) => {
    metrics.refusedConnection(why);
    if (why === 'tls') {
      log.info({ client, reason: error?.message }, 'TLS handshake failed');
      return;
    }
    const now = performance.now();
    if (now - (told.get(why) ?? -Infinity) < QUIET_MS) return;
    told.set(why, now);
    if (why === 'accept') {
      log.error({ reason: error?.message }, 'connections cannot be accepted');
      return;
    }
    const setting = why === 'connections' ? 'maxConnections' : 'maxClientConnections';
    log.warn({ client, setting }, 'connections over the limit are closed');
  };
}

/** Files of the settings that were read again, or that cannot be used: what they said before holds on. */
export function reloadReporter(log: Logger): (setting: string, error?: unknown) => void {
  return (setting, error) => {
    if (error === undefined) log.info({ setting }, 'read again');
    else log.error({ setting, reason: error instanceof Error ? error.message : undefined }, 'not usable');
  };
}

export function reportUnreadable({ client, status }: Unreadable, log: Logger, metrics: Metrics): void {
  log.info({ client, status }, 'unreadable request');
  metrics.unreadable(status);
}
