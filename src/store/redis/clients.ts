import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { parseRedisAddress, type RedisAddress } from '../../lib/redis-address.ts';

/** The methods of ioredis that Pierhead uses, for one server, sentinels and a cluster. */
export type RedisClient = Pick<
  Redis,
  | 'get'
  | 'getBuffer'
  | 'set'
  | 'del'
  | 'eval'
  | 'publish'
  | 'subscribe'
  | 'ping'
  | 'info'
  | 'connect'
  | 'disconnect'
> &
  Pick<NodeJS.EventEmitter, 'on'> & { readonly status: string };

export interface RedisClients {
  readonly commands: RedisClient;
  /** For a cluster the same as `commands`: its client has a separate connection for subscriptions. */
  readonly subscriber: RedisClient;
}

/** Time limit for one call to a sentinel. */
const SENTINEL_TIMEOUT_MS = 1000;
/**
 * A connection with an open call that receives nothing for this time is closed: the other end may be gone. Calls have a
 * shorter limit in RedisConnection. ioredis has no limit per call here, since it would count standstills of this
 * process.
 */
const SOCKET_TIMEOUT_MS = 5000;
const MAX_RECONNECT_PAUSE_MS = 2000;
const CLUSTER_RETRY_MS = 20;
const CLUSTER_REFRESH_MS = 10_000;

const reconnectPauseMs = (attempts: number): number => Math.min(100 * attempts, MAX_RECONNECT_PAUSE_MS);

/** No call is queued or sent again: the caller has continued without Redis. */
const CONNECTION = {
  socketTimeout: SOCKET_TIMEOUT_MS,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  // RedisConnection subscribes on each `ready`, which works after a failed first connection too.
  autoResubscribe: false,
} as const satisfies RedisOptions;

const STANDALONE = { ...CONNECTION, enableOfflineQueue: false, retryStrategy: reconnectPauseMs } as const;

/** Clients that reconnect by themselves. `url`: see lib/redis-address.ts. */
export function createRedisClients({
  url,
  connectTimeoutMs,
}: {
  readonly url: string;
  readonly connectTimeoutMs: number;
}): RedisClients {
  // Node gives up each address of a name after 250 ms, and ioredis cannot change that. Half of the limit leaves time
  // for a second address.
  setDefaultAutoSelectFamilyAttemptTimeout(Math.max(1, Math.floor(connectTimeoutMs / 2)));
  const connectTimeout = connectTimeoutMs;
  const address = parseRedisAddress(url);
  switch (address.kind) {
    case 'single': {
      const options = { ...STANDALONE, connectTimeout };
      return { commands: new Redis(url, options), subscriber: new Redis(url, options) };
    }
    case 'sentinel': {
      const options = { ...sentinelOptions(address), connectTimeout };
      return { commands: new Redis(options), subscriber: new Redis(options) };
    }
    case 'cluster': {
      const cluster = createCluster(address, connectTimeout);
      return { commands: cluster, subscriber: cluster };
    }
  }
}

function sentinelOptions(address: Extract<RedisAddress, { kind: 'sentinel' }>) {
  const { sentinels, name, database, tls, sentinelUsername, sentinelPassword } = address;
  return {
    ...STANDALONE,
    ...credentials(address),
    sentinels: sentinels.map(({ host, port }) => ({ host, port })),
    name,
    db: database,
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(tls ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
    sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
    sentinelRetryStrategy: reconnectPauseMs,
    // Without this, a client whose old master hangs would not notice a new one.
    failoverDetector: true,
  };
}

function createCluster(address: Extract<RedisAddress, { kind: 'cluster' }>, connectTimeout: number): Cluster {
  const { nodes, tls } = address;
  return new Cluster([...nodes], {
    enableOfflineQueue: false,
    clusterRetryStrategy: reconnectPauseMs,
    maxRedirections: 4,
    retryDelayOnFailover: CLUSTER_RETRY_MS,
    retryDelayOnClusterDown: CLUSTER_RETRY_MS,
    retryDelayOnTryAgain: CLUSTER_RETRY_MS,
    slotsRefreshInterval: CLUSTER_REFRESH_MS,
    redisOptions: { ...CONNECTION, connectTimeout, ...credentials(address), ...(tls ? { tls: {} } : {}) },
    // Certificates name hosts, so the host names must not be resolved to addresses here.
    ...(tls ? { dnsLookup: (host, done) => done(null, host) } : {}),
  });
}

function credentials({
  username,
  password,
}: {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}) {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}
