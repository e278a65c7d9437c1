import { durationMs, oneOf, wholeList, wholeNumber } from './fields.ts';
import type { Setting } from './setting.ts';
import { parseTagTtl } from './tag-ttl.ts';

/** The settings of tags by key. */
export const TAG_SETTINGS = {
  tagTtl: {
    env: 'PIERHEAD_TAG_TTL',
    flag: '--tag-ttl',
    argument: '<durations>',
    default: '60s',
    allowed:
      'a duration such as 250ms, 60s, 1h30m or 1d, up to 365d; 0s checks every time; never; and, for tags that fit a pattern, repository:tag=duration, * within a path component, ** across, the first that fits counts; a list, or separated by commas',
    help: 'How long a tag is served before upstream is asked whether it moved. For example 60s, library/*:latest=1m, *:sha-*=never.',
    schema: wholeList(parseTagTtl),
  },
  backgroundChecks: {
    env: 'PIERHEAD_BACKGROUND_CHECKS',
    flag: '--background-checks',
    argument: '<number>',
    default: '60',
    allowed: 'a whole number from 0 (none) to 6000',
    help: 'How many tags a minute are checked at most before anyone asks, of those that are asked for regularly.',
    schema: wholeNumber({ min: 0, max: 6000 }),
  },
  deletedTags: {
    env: 'PIERHEAD_DELETED_TAGS',
    flag: '--deleted-tags',
    argument: '<mode>',
    default: 'drop',
    allowed: 'drop (404) or keep (served on, marked stale)',
    help: 'What becomes of a cached tag that upstream no longer has.',
    schema: oneOf(['drop', 'keep']),
  },
  negativeTtl: {
    env: 'PIERHEAD_NEGATIVE_TTL',
    flag: '--negative-ttl',
    argument: '<duration>',
    default: '10s',
    allowed: 'a duration such as 5s, from 0s (not at all) to 1h',
    help: 'How long it is remembered that upstream does not have a manifest.',
    schema: durationMs({ minMs: 0, maxMs: 3_600_000 }),
  },
} as const satisfies Readonly<Record<string, Setting>>;
