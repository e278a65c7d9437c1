import type { Settings } from '../config/settings.ts';
import { tellAll, type Tell } from '../events/events.ts';
import { createControl, type Control } from '../http/control/routes.ts';
import { EventLog } from '../log/events.ts';
import type { Logger } from '../log/log.ts';
import { Metrics } from '../metrics/metrics.ts';
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
  /** The time by which things are fresh, stale, cold or in use; ms since the epoch. Default the system's. */
  readonly now?: () => number;
}

/** What serves and what commands use. */
export interface Parts {
  readonly pull: Mirror;
  readonly metrics: Metrics;
  readonly tell: Tell;
  readonly control: Control;
  readonly operations: Operations;
  readonly care: ScrubSchedule;
  readonly space: Space;
  readonly degraded: () => readonly string[];
  /** Of what is degraded, where the name does not say it. */
  readonly reasons: () => Readonly<Record<string, string>> | undefined;
}

/** Puts the parts together and answers commands from then on. `cleanup` takes what is to be closed in the end. */
export async function buildParts(options: PartsOptions, lock: DataDirLock, cleanup: Cleanup): Promise<Parts> {
  const { settings, version, log, now = Date.now } = options;
  const metrics = new Metrics();
  const tell = tellAll([metrics, metrics.upstreams, new EventLog(log)]);
  const fleet = await fleetOf(settings, { tell, now });
  cleanup.push(async () => fleet?.connection.close());
  const pullLimits = fleet === undefined ? {} : { sharedPullLimits: fleet.pullLimits };
  const upstreams = createUpstreams({ settings, version, tell, ...pullLimits });
  const unreachable = (): string[] =>
    [...upstreams.values()].filter((upstream) => !upstream.isReachable()).map(({ host }) => host);
  const canRefill = (): boolean => unreachable().length === 0;
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
  const diskTrouble = (): string[] => {
    if (space.isCramped) return ['disk full'];
    return blobs.isFailing ? ['disk'] : [];
  };
  metrics.read({
    fills: () => pulls.blobPuller.running,
    queuedFills: () => pulls.blobPuller.queued,
    blobs: () => blobs.totals(),
    manifests: () => index.manifestTotals(),
    redis: () => redis?.state,
    watchedTags: () => pulls.watch.size,
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
  // From now on commands are answered, whether or not the addresses for clients can be listened on.
  lock.answerBy(control.listener);
  return {
    pull: pulls.service,
    metrics,
    tell,
    control,
    operations,
    care,
    space,
    degraded: () => [
      ...(redis === undefined || redis.state === 'up' ? [] : ['redis']),
      ...diskTrouble(),
      ...(local.isFailing || indexReason(storage) !== undefined ? ['index'] : []),
      // One that is offline by its settings works as it is meant to.
      ...(settings.offline ? [] : unreachable()),
    ],
    reasons: () => {
      const reason = indexReason(storage);
      return reason === undefined ? undefined : { index: reason };
    },
  };
}

/** Why the index cannot tell all that is stored; undefined: it can. */
function indexReason({ index, space }: Storage): string | undefined {
  if (index.problem !== undefined) {
    return `the index is damaged (${index.problem}): restart pierhead to make a new one`;
  }
  return space.isRebuilding
    ? 'the index is new: cached blobs are entered again, tags and manifests when they are next pulled'
    : undefined;
}

/** The client of Redis takes 9 MB and a tenth of a second to load: only who has one pays for it. */
async function fleetOf(
  { redisUrl: url, redisTimeoutMs: timeoutMs, connectTimeoutMs, fleetSecret: secret }: Settings,
  { tell, now }: { readonly tell: Tell; readonly now: () => number },
): Promise<Fleet | undefined> {
  if (url === undefined) return undefined;
  const { joinFleet } = await import('./fleet.ts');
  return joinFleet({ url, timeoutMs, connectTimeoutMs, secret, tell, now });
}
