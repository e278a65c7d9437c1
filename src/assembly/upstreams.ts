import type { Settings, UpstreamSettings } from '../config/settings.ts';
import type { Logger } from '../log/log.ts';
import { UpstreamWatch } from '../log/upstream-watch.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { UpstreamState } from '../metrics/upstream-metrics.ts';
import type { SharedBudgets } from '../oci/pull-budget.ts';
import { createUpstream } from '../upstream/client.ts';
import { createOfflineUpstream } from '../upstream/offline.ts';
import type { Upstream } from '../upstream/upstream.ts';

export interface UpstreamsOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly log: Logger;
  /** Undefined: there is no fleet. */
  readonly sharedBudgets?: SharedBudgets;
}

/** The registries of the settings, by host. */
export function createUpstreams(options: UpstreamsOptions, metrics: Metrics): ReadonlyMap<string, Upstream> {
  return new Map(
    Object.entries(options.settings.upstreams).map(([host, upstream]) => [
      host,
      upstreamFor(host, upstream, options, metrics),
    ]),
  );
}

/** For the metrics. */
export function upstreamState(upstream: Upstream, { offline }: Settings): UpstreamState {
  if (offline) return 'offline';
  if (!upstream.isReachable()) return 'down';
  return upstream.isSilent() ? 'silent' : 'up';
}

function upstreamFor(
  host: string,
  entry: UpstreamSettings,
  options: UpstreamsOptions,
  metrics: Metrics,
): Upstream {
  const { settings, version, log, sharedBudgets } = options;
  const { username, password, passwordFile, token, tokenFile } = entry;
  const hasCredentials = username !== undefined || token !== undefined || tokenFile !== undefined;
  if (settings.offline) {
    return createOfflineUpstream({ host, hasCredentials: hasCredentials || entry.identities.length > 0 });
  }
  const watch = new UpstreamWatch(log);
  return createUpstream({
    host,
    url: entry.url,
    ...(entry.ca === undefined ? {} : { ca: entry.ca }),
    ...(hasCredentials ? { credentials: { username, password, passwordFile, token, tokenFile } } : {}),
    identities: entry.identities,
    ...(sharedBudgets === undefined ? {} : { sharedBudgets }),
    budget: { lowShare: settings.pullBudgetLow, reserve: settings.pullBudgetReserve },
    connectTimeoutMs: settings.connectTimeoutMs,
    headersTimeoutMs: settings.headersTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutMs,
    userAgent: `pierhead/${version}`,
    onRequest: ({ kind, method, outcome }) =>
      metrics.upstreamRequest({ upstream: host, kind, method, outcome }),
    onBytes: (count) => metrics.upstreamBytes(host, count),
    onBreaker: (event) => {
      metrics.upstreams.breaker(event);
      watch.breaker(event);
    },
    onBudget: (event) => {
      metrics.upstreams.budget(event);
      watch.budget(event);
    },
  });
}
