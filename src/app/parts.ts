import type { Settings } from '../config/settings.ts';
import { tellAll, type Tell } from '../events/events.ts';
import { createControl, type Control } from '../http/control/routes.ts';
import { EventLog } from '../log/event-log.ts';
import type { Logger } from '../log/log.ts';
import { Metrics, type Trouble } from '../metrics/metrics.ts';
import type { Mirror } from '../mirror/mirror.ts';
import type { Operations } from '../operations/protocol.ts';
import type { ScrubSchedule } from '../operations/verify/schedule.ts';
import type { DataDirLock } from '../store/data-dir.ts';
import type { Space } from '../store/space/space.ts';
import type { Cleanup } from './cleanup.ts';
import type { Fleet } from './fleet.ts';
import { createPulls } from './mirror.ts';
import { createOperations } from './operations.ts';
import { openStorage, type Storage } from './storage.ts';
import { createUpstreams, upstreamState } from './upstreams.ts';

export interface PartsOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly log: Logger;
  /** The clock for ages and times of expiry, in ms since the epoch. Default: the system's. */
  readonly now?: (() => number) | undefined;
}

/** The parts that serve clients and commands. */
export interface Parts {
  readonly mirror: Mirror;
  readonly metrics: Metrics;
  readonly tell: Tell;
  readonly control: Control;
  readonly operations: Operations;
  readonly care: ScrubSchedule;
  readonly space: Space;
  readonly degraded: () => readonly string[];
  /** By name in `degraded`, where the name alone does not say why. */
  readonly reasons: () => Readonly<Record<string, string>> | undefined;
}

/** Builds the parts, then answers commands at the control socket. */
export async function buildParts(options: PartsOptions, lock: DataDirLock, cleanup: Cleanup): Promise<Parts> {
  const { settings, version, log, now = Date.now } = options;
  const metrics = new Metrics();
  const tell = tellAll([metrics, metrics.upstreams, new EventLog(log)]);
  const fleet = await fleetOf(settings, { tell, now });
  cleanup.push(async () => fleet?.connection.close());
  const upstreams = createUpstreams({ settings, version, tell, sharedPullLimits: fleet?.pullLimits });
  const canRefill = (): boolean => [...upstreams.values()].every((upstream) => upstream.isReachable());
  const storage = await openStorage({ settings, tell, shared: fleet?.manifests, canRefill, now }, cleanup);
  cleanup.push(async () => {
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()));
  });
  const redis = fleet?.connection;
  const pulls = createPulls(
    {
      settings,
      tell,
      upstreams,
      storage,
      lock: fleet?.lock,
      duringRequest: (work) => (redis === undefined ? work() : redis.duringRequest(work)),
      now,
    },
    cleanup,
  );
  const { operations, care } = createOperations({ settings, tell, upstreams, storage, pulls, now }, cleanup);
  const control = createControl({ operations, version, tell });
  cleanup.pushWork(() => control.stop());
  const { index, local, blobs, space } = storage;
  const troubles = (): readonly Trouble[] => {
    const isIndexFailing = local.isFailing || indexReason(storage) !== undefined;
    return [
      ...(redis === undefined ? [] : [{ reason: 'redis', isNow: redis.state !== 'up' }]),
      { reason: 'disk full', isNow: space.isCramped },
      { reason: 'disk', isNow: !space.isCramped && (blobs.isFailing || blobs.isUnreadable) },
      { reason: 'index', isNow: isIndexFailing },
      // With `offline: true` an unreachable upstream is no fault.
      ...[...upstreams.values()].map((upstream) => ({
        reason: upstream.host,
        isNow: !settings.offline && !upstream.isReachable(),
      })),
    ];
  };
  metrics.read({
    troubles,
    fills: () => pulls.blobPuller.running,
    queuedFills: () => pulls.blobPuller.queued,
    blobs: () => blobs.totals(),
    manifests: () => index.manifestTotals(),
    redis: () => redis?.state,
    watchedTags: () => pulls.earlyChecks.size,
    fleetWaiting: () => pulls.fleet.waiting,
    room: () => space.figures(),
    coldestAgeMs: () => space.coldestAgeMs(),
    indexBytes: () => index.fileBytes(),
  });
  metrics.upstreams.read(() =>
    [...upstreams.values()].map((upstream) => ({
      host: upstream.host,
      state: upstreamState(upstream, settings),
    })),
  );
  // Commands are answered even if the addresses for clients are taken.
  lock.answerBy(control.listener);
  return {
    mirror: pulls.mirror,
    metrics,
    tell,
    control,
    operations,
    care,
    space,
    degraded: () => troubles().flatMap(({ reason, isNow }) => (isNow ? [reason] : [])),
    reasons: () => {
      const reason = indexReason(storage);
      return reason === undefined ? undefined : { index: reason };
    },
  };
}

/** Why the index lacks cached content. Undefined: the index is complete. */
function indexReason({ index, space }: Storage): string | undefined {
  if (index.problem !== undefined) {
    return `the index is damaged (${index.problem}); restart pierhead to make a new one`;
  }
  return space.isRebuilding
    ? 'the index is new: Pierhead enters cached blobs again; the next pull enters its tags and manifests'
    : undefined;
}

/** ioredis takes 9 MB and 0.1 s to load, so servers without `redisUrl` do not load it. */
async function fleetOf(
  { redisUrl: url, redisTimeoutMs: timeoutMs, connectTimeoutMs, fleetSecret: secret }: Settings,
  { tell, now }: { readonly tell: Tell; readonly now: () => number },
): Promise<Fleet | undefined> {
  if (url === undefined) return undefined;
  const { joinFleet } = await import('./fleet.ts');
  return joinFleet({ url, timeoutMs, connectTimeoutMs, secret, tell, now });
}
