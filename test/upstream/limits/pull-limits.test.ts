import { expect, it } from 'vitest';
import type { PullLimitEvent } from '../../../src/events/events.ts';
import type { PullLimitNews, PullLimitState } from '../../../src/oci/pull-limit.ts';
import { PullLimits } from '../../../src/upstream/limits/pull-limits.ts';
import { tellTo } from '../../support/told.ts';

const NOW = 1_800_000_000_000;

/** The limits at one.example, the events that they tell, and a way for other servers to publish news. */
function heardAtOne() {
  const events: PullLimitEvent[] = [];
  let hear: (key: string, news: PullLimitNews) => void = () => undefined;
  const limits = new PullLimits({
    host: 'one.example',
    lowShare: 0.1,
    reserve: 5,
    now: () => NOW,
    tell: tellTo({ pullLimit: (event) => void events.push(event) }),
    shared: {
      load: () => Promise.resolve(undefined),
      publish: () => undefined,
      subscribe: (listener) => (hear = listener),
    },
  });
  return { limits, events, hear: (key: string, news: PullLimitNews) => hear(key, news) };
}

function readState(remaining: number): PullLimitState {
  return { identity: 'anonymous', limit: 100, remaining, readAt: NOW, isLow: false };
}

// The hosts have names of one length: the identity in the keys begins at the same place.
it.each([
  ['one.example anonymous', 40],
  ['two.example anonymous', undefined],
  ['one.example carol', undefined],
])('the pull limit of an anonymous client at one.example, after a reading of %s: %s', (key, remaining) => {
  const { limits, events, hear } = heardAtOne();
  const limit = limits.of('anonymous');
  hear(key, { kind: 'read', state: readState(40) });
  expect(limit.state.remaining).toBe(remaining);
  expect(events.map(({ upstream, state }) => [upstream, state.remaining])).toEqual(
    remaining === undefined ? [] : [['one.example', remaining]],
  );
});

it.each([
  ['one.example anonymous', 0],
  ['two.example anonymous', 1],
  ['one.example carol', 1],
])('a pull that is missing at one.example, after a server spent one of %s: foreign %i', (key, foreign) => {
  const { limits, events, hear } = heardAtOne();
  const limit = limits.of('anonymous');
  limit.began('HEAD', 'library/app').answered({ limit: 100, remaining: 50 });
  hear(key, { kind: 'spent', pulls: 1 });
  limit.began('HEAD', 'library/app').answered({ limit: 100, remaining: 49 });
  expect(events.at(-1)?.foreignPulls).toBe(foreign);
});
