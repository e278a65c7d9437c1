import type { Tell } from '../events/events.ts';
import type { SharedPullLimits } from '../oci/pull-limit.ts';
import type { FleetLock } from '../store/fleet-lock.ts';
import { RedisConnection } from '../store/redis/connection.ts';
import { createRedisFleetLock } from '../store/redis/fleet-lock.ts';
import { createRedisStore, type SharedStore } from '../store/redis/manifests.ts';
import { createRedisPullLimits } from '../store/redis/pull-limits.ts';

export interface FleetOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** `fleetSecret`. Undefined: servers do not share which repositories are public, nor what those hold. */
  readonly secret: string | undefined;
  readonly tell: Tell;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** Stores and locks that servers share through one Redis. */
export interface Fleet {
  readonly connection: RedisConnection;
  readonly manifests: SharedStore;
  readonly pullLimits: SharedPullLimits;
  readonly lock: FleetLock;
}

export function joinFleet(options: FleetOptions): Fleet {
  const { url, timeoutMs: callTimeoutMs, connectTimeoutMs, secret, tell, now } = options;
  const connection = new RedisConnection({ url, callTimeoutMs, connectTimeoutMs, tell });
  return {
    connection,
    manifests: createRedisStore({ connection, secret, tell, now }),
    pullLimits: createRedisPullLimits(connection, { now }),
    lock: createRedisFleetLock(connection),
  };
}
