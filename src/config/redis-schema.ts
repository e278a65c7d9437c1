import { durationMs, text } from './fields.ts';
import type { Setting } from './setting.ts';
import { parseRedisUrl } from './urls.ts';

/** The settings of Redis by key. */
export const REDIS_SETTINGS = {
  redisUrl: {
    env: 'PIERHEAD_REDIS_URL',
    flag: '--redis-url',
    argument: '<url>',
    example: 'redis://redis:6379/0',
    allowed:
      'redis:// with host, optionally user:password@, port and /database number; redis+sentinel://host1:26379,host2:26379/master/database; redis+cluster://host1:7000,host2:7000; rediss for TLS in each',
    help: 'Redis that keeps manifests and tags as well and shares them with other servers; none: the embedded store alone.',
    holds: 'url',
    schema: text(parseRedisUrl).exactOptional(),
  },
  redisTimeout: {
    env: 'PIERHEAD_REDIS_TIMEOUT',
    flag: '--redis-timeout',
    argument: '<duration>',
    default: '40ms',
    allowed: 'a duration such as 40ms, from 1ms to 5s',
    help: 'How long a request waits for Redis, in all, before the server goes on without it.',
    schema: durationMs({ minMs: 1, maxMs: 5000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;
