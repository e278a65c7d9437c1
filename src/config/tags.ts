import { DOCKER_HUB, registryHost } from '../oci/reference.ts';
import { isRegistryHost } from './addresses.ts';
import { durationMs, oneOf, wholeList, wholeNumber, type Setting } from './fields.ts';
import { formatDuration, parseDuration, quoted, UnitError } from './units.ts';
import { parseRepositoryPattern, TAG_PATTERN } from './upstreams.ts';

/** Time that a tag is served before a tag check, in ms. `never`: a cached tag is never checked. */
export type TtlMs = number | 'never';

/** `pattern` is for `<repository>:<tag>`. Repositories of registries other than docker.io begin with the host. */
export interface TagTtlRule {
  readonly pattern: string;
  readonly ttlMs: TtlMs;
}

interface TagTtl {
  /** The first rule that fits a tag counts. */
  readonly rules: readonly TagTtlRule[];
  /** For all other tags. */
  readonly otherwise: TtlMs;
}

const MAX_TTL_MS = 365 * 86_400_000;
const DEFAULT_TTL_MS = 60_000;

/** `60s` for all tags, `library/*:latest=1m` for tags that fit the pattern. Throws UnitError. */
export function parseTagTtl(texts: readonly string[]): TagTtl {
  const rules: TagTtlRule[] = [];
  let otherwise: TtlMs | undefined;
  for (const text of texts) {
    const equals = text.lastIndexOf('=');
    if (equals >= 0)
      rules.push({
        pattern: parsePattern(text.slice(0, equals).trim()),
        ttlMs: parseTtl(text.slice(equals + 1).trim()),
      });
    else if (otherwise === undefined) otherwise = parseTtl(text);
    else throw new UnitError(`${quoted(text)} is a second duration without a pattern`);
  }
  return { rules, otherwise: otherwise ?? DEFAULT_TTL_MS };
}

function parseTtl(text: string): TtlMs {
  if (text === 'never') return 'never';
  const ms = parseDuration(text);
  if (ms > MAX_TTL_MS)
    throw new UnitError(`${quoted(text)} is not between 0s and ${formatDuration(MAX_TTL_MS)}`);
  return ms;
}

/** `golang:*` is short for `library/golang:*`. `*:sha-*` is for tags of every repository. */
function parsePattern(text: string): string {
  const colon = text.lastIndexOf(':');
  const tag = text.slice(colon + 1);
  if (colon < 0 || !TAG_PATTERN.test(tag))
    throw new UnitError(`${quoted(text)} is not a pattern for repository:tag`);
  return `${parseRepositories(text.slice(0, colon))}:${tag}`;
}

function parseRepositories(text: string): string {
  if (text === '*') return '**';
  const slash = text.indexOf('/');
  if (slash < 0) return text === '**' ? text : `library/${parseRepositoryPattern(text)}`;
  const first = text.slice(0, slash);
  if (!/[.:]/.test(first) || !isRegistryHost(first)) return parseRepositoryPattern(text);
  const rest = parseRepositoryPattern(text.slice(slash + 1));
  if (registryHost(first) !== DOCKER_HUB) return `${first}/${rest}`;
  return rest.includes('/') || rest === '**' ? rest : `library/${rest}`;
}

export const TAG_SETTINGS = {
  tagTtl: {
    env: 'PIERHEAD_TAG_TTL',
    flag: '--tag-ttl',
    argument: '<durations>',
    default: '60s',
    example: ['60s', 'library/*:latest=1m', '*:sha-*=never'],
    allowed:
      'a duration such as 250ms, 60s, 1h30m or 1d, up to 365d; 0s checks every time; never; and, for tags that fit a pattern, repository:tag=duration, * within a path component, ** across, the first that fits counts; a list, or separated by commas',
    help: 'Time that a tag is served before a tag check.',
    more: 'The first pattern that fits counts. A duration without a pattern is for all other tags.',
    schema: wholeList(parseTagTtl),
  },
  backgroundChecks: {
    env: 'PIERHEAD_BACKGROUND_CHECKS',
    flag: '--background-checks',
    argument: '<number>',
    default: '60',
    allowed: 'a whole number from 0 (none) to 6000',
    help: 'Most tag checks a minute that run before a client asks.',
    more: 'Pierhead checks tags that clients ask for in a rhythm.',
    schema: wholeNumber({ min: 0, max: 6000 }),
  },
  deletedTags: {
    env: 'PIERHEAD_DELETED_TAGS',
    flag: '--deleted-tags',
    argument: '<mode>',
    default: 'drop',
    example: 'keep',
    allowed: 'drop (404, unless the tag is pinned) or keep (served as stale)',
    help: 'Answer for a cached tag that the upstream deleted.',
    schema: oneOf(['drop', 'keep']),
  },
  negativeTtl: {
    env: 'PIERHEAD_NEGATIVE_TTL',
    flag: '--negative-ttl',
    argument: '<duration>',
    default: '10s',
    example: '1m',
    allowed: 'a duration such as 5s, from 0s (not at all) to 1h',
    help: 'Time that a missing manifest is remembered.',
    schema: durationMs({ minMs: 0, maxMs: 3_600_000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;
