import { parseRedisUrl } from './addresses.ts';
import { durationMs, text, type Setting, line, secret } from './fields.ts';
import type { Settings } from './settings.ts';

export const REDIS_SETTINGS = {
  redisUrl: {
    env: 'PIERHEAD_REDIS_URL',
    flag: '--redis-url',
    argument: '<url>',
    example: 'redis://redis:6379/0',
    allowed:
      'redis:// with host, optionally user:password@, port and /database number; redis+sentinel://host1:26379,host2:26379/master/database; redis+cluster://host1:7000,host2:7000; rediss for TLS in each',
    help: 'Redis through which servers share manifests, tags and the pull limit.',
    more: 'Without it each server uses its own index alone.',
    holds: 'url',
    schema: text(parseRedisUrl).exactOptional(),
  },
  redisTimeout: {
    env: 'PIERHEAD_REDIS_TIMEOUT',
    flag: '--redis-timeout',
    argument: '<duration>',
    default: '40ms',
    allowed: 'a duration such as 40ms, from 1ms to 5s',
    help: 'Time limit for all Redis calls of one request.',
    more: 'After it the server answers without Redis.',
    schema: durationMs({ minMs: 1, maxMs: 5000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** As for a bearer token: a program that reads Redis could try to guess the secret from a signature. */
const MIN_SECRET_LENGTH = 20;

/** Servers that trust each other. */
export const FLEET_SETTINGS = {
  fleetSecret: {
    env: 'PIERHEAD_FLEET_SECRET',
    flag: '--fleet-secret',
    argument: '<text>',
    example: 'the-same-long-random-text-everywhere',
    allowed: `text of at least ${MIN_SECRET_LENGTH} characters without control characters`,
    help: 'Secret by which servers on one Redis trust each other.',
    more: 'With it they share which repositories are public and which digests those hold. Without it each server asks upstream itself. Other users can read a command line.',
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

/** A sentence for each upstream whose rules for tags the servers on one Redis cannot share. */
export function fleetWarnings({ redisUrl, fleetSecret, upstreams }: Settings): string[] {
  if (redisUrl === undefined || fleetSecret !== undefined) return [];
  return Object.entries(upstreams)
    .filter(([, { allow = [], deny = [] }]) => [...allow, ...deny].some((pattern) => pattern.includes(':')))
    .map(
      ([host]) =>
        `upstreams.${host}: allow or deny names tags, and redisUrl is set without fleetSecret; each server serves a digest only after it has served a tag that names the digest`,
    );
}
