import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { parseRedisAddress, type RedisAddress } from '../../lib/redis-address.ts';

/** What is used of ioredis: the same on one server, behind sentinels and on a cluster. */
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
  /** The same as `commands` on a cluster, whose client keeps a connection apart for this. */
  readonly subscriber: RedisClient;
}

export interface RedisClientsOptions {
  /** See lib/redis-address.ts. */
  readonly url: string;
  /** By when a connection must stand. */
  readonly connectTimeoutMs: number;
}

/** For what a sentinel is asked. */
const SENTINEL_TIMEOUT_MS = 1000;
/**
 * A connection on which an answer is due and nothing came for so long is given up: the other end may be gone. Calls have
 * a tighter limit of their own; another one of ioredis would end them in a standstill of ours.
 */
const SOCKET_TIMEOUT_MS = 5000;
const MAX_RECONNECT_PAUSE_MS = 2000;
const CLUSTER_RETRY_MS = 20;
const CLUSTER_REFRESH_MS = 10_000;

const reconnectPauseMs = (attempts: number): number => Math.min(100 * attempts, MAX_RECONNECT_PAUSE_MS);

/** No call is queued or sent again: whoever asked has gone on without. */
const CONNECTION = {
  socketTimeout: SOCKET_TIMEOUT_MS,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  // Channels are subscribed to anew on every connection, also if the first attempt came to nothing.
  autoResubscribe: false,
} as const satisfies RedisOptions;

const STANDALONE = { ...CONNECTION, enableOfflineQueue: false, retryStrategy: reconnectPauseMs } as const;

/** Clients that connect by themselves, again and again. */
export function createRedisClients({ url, connectTimeoutMs }: RedisClientsOptions): RedisClients {
  // Node gives up each address of a name after 250 ms, and ioredis cannot ask for more. Half: a second one has its turn.
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
    // Without this a client whose old master hangs would not hear that there is a new one.
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
    // Certificates name hosts, which the default would have turned into addresses by then.
    ...(tls ? { dnsLookup: (host, done) => done(null, host) } : {}),
  });
}

function credentials({ username, password }: { readonly username?: string; readonly password?: string }) {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}
