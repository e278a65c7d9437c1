import type { Metrics } from '../metrics/metrics.ts';
import type { SharedBudgets } from '../oci/pull-budget.ts';
import type { FleetLock } from '../store/fleet-lock.ts';
import { createRedisStore, type SharedStore } from '../store/manifest/redis.ts';
import { createRedisBudgets } from '../store/redis/budgets.ts';
import { RedisConnection } from '../store/redis/connection.ts';
import { createRedisFleetLock } from '../store/redis/fleet-lock.ts';

export interface FleetOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  /** What the servers have in common; undefined: they do not believe each other who may see what. */
  readonly secret: string | undefined;
  readonly metrics: Metrics;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** What servers have in common by one Redis. */
export interface Fleet {
  readonly connection: RedisConnection;
  readonly manifests: SharedStore;
  readonly budgets: SharedBudgets;
  readonly lock: FleetLock;
}

export function joinFleet(options: FleetOptions): Fleet {
  const { url, timeoutMs: callTimeoutMs, connectTimeoutMs, secret, metrics, now } = options;
  const onFailure = (failure: string): void => metrics.redisError(failure);
  const connection = new RedisConnection({ url, callTimeoutMs, connectTimeoutMs, onFailure });
  return {
    connection,
    manifests: createRedisStore({ connection, secret, onFailure, now }),
    budgets: createRedisBudgets(connection, { now }),
    lock: createRedisFleetLock(connection),
  };
}
