import { parseRedisUrl } from './addresses.ts';
import { durationMs, text, type Setting, line, secret } from './fields.ts';
import type { Settings } from './settings.ts';

/** The settings of Redis by key. */
export const REDIS_SETTINGS = {
  redisUrl: {
    env: 'PIERHEAD_REDIS_URL',
    flag: '--redis-url',
    argument: '<url>',
    example: 'redis://redis:6379/0',
    allowed:
      'redis:// with host, optionally user:password@, port and /database number; redis+sentinel://host1:26379,host2:26379/master/database; redis+cluster://host1:7000,host2:7000; rediss for TLS in each',
    help: 'Redis by which servers share manifests, tags and the pull limit.',
    more: 'None: the embedded store alone.',
    holds: 'url',
    schema: text(parseRedisUrl).exactOptional(),
  },
  redisTimeout: {
    env: 'PIERHEAD_REDIS_TIMEOUT',
    flag: '--redis-timeout',
    argument: '<duration>',
    default: '40ms',
    allowed: 'a duration such as 40ms, from 1ms to 5s',
    help: 'Time limit for all that one request asks Redis.',
    more: 'After it the server goes on without Redis.',
    schema: durationMs({ minMs: 1, maxMs: 5000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** As of a bearer token: what it signs lies where others may try to guess it. */
const MIN_SECRET_LENGTH = 20;

/** The settings of servers that belong together by key. */
export const FLEET_SETTINGS = {
  fleetSecret: {
    env: 'PIERHEAD_FLEET_SECRET',
    flag: '--fleet-secret',
    argument: '<text>',
    example: 'the-same-long-random-text-everywhere',
    allowed: `text of at least ${MIN_SECRET_LENGTH} characters without control characters`,
    help: 'Secret by which servers on one Redis trust each other.',
    more: 'They share which repositories are public and what those hold. None: each server asks upstream itself. Other users can read a command line.',
    holds: 'secret',
    excludes: ['fleetSecretFile'],
    schema: secret({ minLength: MIN_SECRET_LENGTH }).exactOptional(),
  },
  fleetSecretFile: {
    env: 'PIERHEAD_FLEET_SECRET_FILE',
    flag: '--fleet-secret-file',
    argument: '<file>',
    example: '/run/secrets/fleet-secret',
    allowed: `a readable file, one line of at least ${MIN_SECRET_LENGTH} characters`,
    help: 'File with the fleet secret.',
    holds: 'file',
    holdsValueOf: 'fleetSecret',
    excludes: ['fleetSecret'],
    schema: line().exactOptional(),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** A sentence for each upstream whose rules servers on one Redis cannot hold to together. */
export function fleetWarnings({ redisUrl, fleetSecret, upstreams }: Settings): string[] {
  if (redisUrl === undefined || fleetSecret !== undefined) return [];
  return Object.entries(upstreams)
    .filter(([, { allow = [], deny = [] }]) => [...allow, ...deny].some((pattern) => pattern.includes(':')))
    .map(
      ([host]) =>
        `upstreams.${host} has rules for tags, and there is redisUrl without fleetSecret: each server lets a digest through only after it has served a tag that names it`,
    );
}
