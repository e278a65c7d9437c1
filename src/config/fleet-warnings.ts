import type { Settings } from './settings.ts';

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
