import { describe, expect, test } from 'vitest';
import type { PullLimitEvent } from '../../../src/events/events.ts';
import type { PullLimitNews, SharedPullLimits } from '../../../src/oci/pull-limit.ts';
import type { UpstreamOptions } from '../../../src/upstream/registry/client.ts';
import { GOLANG, PLAIN } from '../../support/filled-hub.ts';
import {
  ANYBODY,
  CAROL,
  CONFIGURED,
  hubAndUpstream,
  valueOf,
  watchedUpstream,
} from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const WINDOW_MS = 21_600_000;
const GETS = { kind: 'manifest', method: 'GET', host: 'registry' } as const;

const pulls = (remaining: number, limit = 100) => ({ limit, remaining, windowSeconds: 21_600 });

async function watched(remaining: number, options: Partial<UpstreamOptions> = {}) {
  const pullLimits: PullLimitEvent[] = [];
  const clock = { nowMs: Date.now() };
  const parts = await hubAndUpstream(
    { pulls: pulls(remaining) },
    { now: () => clock.nowMs, ...options },
    { pullLimit: (event) => void pullLimits.push(event) },
  );
  const get = (name = repository, identity = ANYBODY) => parts.upstream.getManifest(name, LATEST, identity);
  const head = (name = repository) => parts.upstream.headManifest(name, LATEST, ANYBODY);
  const foreign = () => pullLimits.reduce((sum, { foreignPulls }) => sum + foreignPulls, 0);
  return { ...parts, pullLimits, clock, get, head, foreign, last: () => pullLimits.at(-1)?.state };
}

describe('the pull limit', () => {
  test('is read off every answer, HEADs too', async () => {
    const { last, head, get } = await watched(77);
    valueOf(await head());
    expect(last()).toMatchObject({
      identity: 'anonymous',
      source: '192.0.2.1',
      limit: 100,
      remaining: 77,
      windowMs: WINDOW_MS,
      isLow: false,
    });
    valueOf(await get());
    expect(last()?.remaining).toBe(76);
  });

  test.each([
    [21, false],
    [20, true],
    [3, true],
  ])('with %i of 100 left is low: %s', async (remaining, isLow) => {
    const { upstream, last, head } = await watched(remaining);
    expect(upstream.mayPrefetch(repository)).toBe(true);
    valueOf(await head());
    expect(last()?.isLow).toBe(isLow);
    expect(upstream.mayPrefetch(repository)).toBe(!isLow);
    if (isLow) expect(upstream.shortage(repository)).toContain(`only ${remaining} of 100 pulls are left`);
    else expect(upstream.shortage(repository)).toBeUndefined();
  });

  test('keeps its last pulls for misses even if no share is', async () => {
    const { upstream, head } = await watched(10, { pullLimit: { lowShare: 0, reserve: 10 } });
    valueOf(await head());
    expect(upstream.mayPrefetch(repository)).toBe(false);
    expect((await upstream.getManifest(repository, LATEST, ANYBODY)).kind).toBe('ok');
  });

  test('that is told without a number is none that could run low', async () => {
    const { hub, upstream, last, head } = await watched(50);
    const headers = { 'ratelimit-limit': ';w=21600', 'ratelimit-remaining': ';w=21600' };
    hub.fault({ match: { kind: 'manifest' }, after: 1, do: { status: { code: 200, headers } } });
    await head();
    expect(last()).toMatchObject({ windowMs: WINDOW_MS, isLow: false });
    expect(upstream.mayPrefetch(repository)).toBe(true);
  });
});

describe('a pull limit that is used up', () => {
  test('lets nothing be pulled in vain, while HEADs go on', async () => {
    const { hub, get, head, last, clock } = await watched(1);
    valueOf(await get());
    expect(last()).toMatchObject({ remaining: 0, spentUntil: clock.nowMs + WINDOW_MS });
    const asked = hub.count(GETS);
    for (let i = 0; i < 5; i++) {
      const refusal = { kind: 'limited', scope: 'pulls', retryAfterMs: WINDOW_MS, spared: true };
      expect(await get()).toEqual(refusal);
      expect((await head()).kind).toBe('ok');
    }
    expect(hub.count(GETS)).toBe(asked);
    expect(hub.requests.filter(({ status }) => status === 429)).toEqual([]);
  });

  test('is found by one pull at most, and over as soon as a HEAD says so', async () => {
    const { hub, upstream, get, head } = await watched(0);
    expect((await get()).kind).toBe('limited');
    expect(upstream.isReachable()).toBe(true);
    expect(await get()).toMatchObject({ kind: 'limited', spared: true });
    expect(hub.requests.filter(({ status }) => status === 429)).toHaveLength(1);
    hub.setPulls(pulls(100));
    valueOf(await head());
    expect((await get()).kind).toBe('ok');
  });

  test('is looked at by a free HEAD before a pull is refused, once in a while', async () => {
    const { hub, get, clock } = await watched(0);
    await get();
    hub.reset();
    clock.nowMs += 60_000;
    await get();
    await get();
    expect(hub.count({ ...GETS, method: 'HEAD' })).toBe(1);
    expect(hub.count(GETS)).toBe(0);
    hub.setPulls(pulls(5));
    clock.nowMs += 60_000;
    expect((await get()).kind).toBe('ok');
  });

  test('does not concern repositories whose pulls do not count', async () => {
    const { hub, get, head } = await watched(0);
    await get();
    const free = hub.fault({ match: { kind: 'manifest', repository: PLAIN.repository }, do: {} });
    expect(await get()).toMatchObject({ kind: 'limited', spared: true });
    hub.setPulls('unlimited');
    valueOf(await head(PLAIN.repository));
    expect((await get(PLAIN.repository)).kind).toBe('ok');
    free.remove();
  });

  test('honours Retry-After', async () => {
    const { hub, get, clock } = await watched(50);
    const body = 'You have reached your pull rate limit.';
    const headers = { 'retry-after': '90' };
    hub.fault({ match: GETS, after: 1, times: 1, do: { status: { code: 429, body, headers } } });
    expect(await get()).toEqual({ kind: 'limited', scope: 'pulls', retryAfterMs: 90_000 });
    clock.nowMs += 89_000;
    hub.setPulls('unlimited');
    expect(await get()).toMatchObject({ spared: true, retryAfterMs: 1000 });
    clock.nowMs += 1000;
    expect((await get()).kind).toBe('ok');
  });
});

describe('pulls that are not ours', () => {
  test('show by a count that falls faster than we pull', async () => {
    const { hub, get, head, foreign } = await watched(100);
    for (let i = 0; i < 4; i++) valueOf(await get(i % 2 === 0 ? repository : PLAIN.repository));
    expect(foreign()).toBe(0);
    hub.setPulls(pulls(90));
    valueOf(await head());
    // One pull of ours may not have been counted yet.
    expect(foreign()).toBe(5);
    valueOf(await head());
    expect(foreign()).toBe(5);
  });

  test('are not seen where upstream counts two GETs as one, or begins a new window', async () => {
    const { hub, get, head, foreign } = await watched(100);
    for (const remaining of [101, 100, 100, 99, 99, 98]) {
      hub.setPulls(pulls(remaining));
      valueOf(await get());
    }
    hub.setPulls(pulls(100));
    valueOf(await head());
    valueOf(await get());
    expect(foreign()).toBe(0);
  });

  test('are not seen in many pulls of ours at once', async () => {
    const { get, foreign } = await watched(100);
    await Promise.all(Array.from({ length: 20 }, () => get()));
    await get();
    expect(foreign()).toBe(0);
  });
});

describe('the forecast', () => {
  test('tells when the limit will be used up at this rate, if that is in this window', async () => {
    const { get, last, clock } = await watched(100);
    valueOf(await get());
    expect(last()?.emptyAt).toBeUndefined();
    for (let i = 0; i < 10; i++) {
      clock.nowMs += 60_000;
      valueOf(await get());
    }
    // 89 left, one a minute.
    expect(last()?.emptyAt).toBe(clock.nowMs + 89 * 60_000);
  });
});

describe('identities', () => {
  test('are chosen by the repository, and each has a budget of its own', async () => {
    const pullLimits: PullLimitEvent[] = [];
    const { hub } = await watched(100);
    hub.add({ ...PLAIN, repository: 'dave/private', readers: ['dave'] });
    const { upstream } = watchedUpstream(
      hub.url,
      {
        credentials: CAROL,
        identities: [{ pattern: 'dave/*', username: 'dave', password: 'other' }],
      },
      { pullLimit: (event) => void pullLimits.push(event) },
    );
    expect(upstream.hasCredentials).toBe(true);
    for (const [name, user] of [
      ['carol/private', 'carol'],
      ['dave/private', 'dave'],
      [repository, 'carol'],
    ] as const) {
      hub.reset();
      valueOf(await upstream.getManifest(name, LATEST, CONFIGURED));
      expect(hub.requests.at(-1)?.identity).toBe(user);
      expect(pullLimits.at(-1)?.state.identity).toBe(user);
    }
    expect((await upstream.getManifest('dave/private', LATEST, ANYBODY)).kind).toBe('refused');
    hub.setPulls(pulls(5));
    valueOf(await upstream.headManifest('carol/private', LATEST, CONFIGURED));
    expect(upstream.mayPrefetch('carol/private')).toBe(false);
    expect(upstream.mayPrefetch('dave/private')).toBe(true);
  });
});

describe('servers that share what they know', () => {
  /** Where all that is published goes to all others, and the newest reading is kept. */
  function exchange(): () => SharedPullLimits {
    const listeners: ((key: string, news: PullLimitNews) => void)[] = [];
    const kept = new Map<string, PullLimitNews & { kind: 'read' }>();
    return () => {
      let own: (typeof listeners)[number] | undefined;
      return {
        load: (key) => Promise.resolve(kept.get(key)?.state),
        publish: (key, news) => {
          if (news.kind === 'read') kept.set(key, news);
          for (const listener of listeners) if (listener !== own) listener(key, news);
        },
        subscribe: (listener) => {
          own = listener;
          listeners.push(listener);
        },
      };
    };
  }

  test('know at once that there is little left, and take each other’s pulls for their own', async () => {
    const join = exchange();
    const { hub, upstream: first } = await watched(23, { sharedPullLimits: join(), now: Date.now });
    const pullLimits: PullLimitEvent[] = [];
    const second = watchedUpstream(
      hub.url,
      {
        sharedPullLimits: join(),
      },
      { pullLimit: (event) => void pullLimits.push(event) },
    ).upstream;
    valueOf(await first.headManifest(repository, LATEST, ANYBODY));
    valueOf(await second.headManifest(repository, LATEST, ANYBODY));
    for (let i = 0; i < 5; i++) valueOf(await first.getManifest(repository, LATEST, ANYBODY));
    expect(second.mayPrefetch(repository)).toBe(false);
    expect(pullLimits.at(-1)?.state.remaining).toBe(hub.pullsRemaining);
    valueOf(await second.headManifest(repository, LATEST, ANYBODY));
    expect(pullLimits.reduce((sum, { foreignPulls }) => sum + foreignPulls, 0)).toBe(0);
    const late = watchedUpstream(hub.url, { sharedPullLimits: join() }).upstream;
    expect(late.mayPrefetch(repository)).toBe(true);
    await Promise.resolve();
    expect(late.mayPrefetch(repository)).toBe(false);
  });

  test('try no pull in vain that one of them was refused', async () => {
    const join = exchange();
    const { hub, upstream: first } = await watched(50, { sharedPullLimits: join(), now: Date.now });
    const second = watchedUpstream(hub.url, { sharedPullLimits: join() }).upstream;
    for (const upstream of [first, second]) valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    const body = 'You have reached your pull rate limit. https://www.docker.com/increase-rate-limit';
    hub.fault({
      match: GETS,
      do: { status: { code: 429, body, headers: { 'retry-after': '3600' } } },
    });
    expect((await first.getManifest(repository, LATEST, ANYBODY)).kind).toBe('limited');
    const asked = hub.count(GETS);
    expect(second.shortage(repository)).toContain('used up');
    expect(await second.getManifest(repository, LATEST, ANYBODY)).toMatchObject({ scope: 'pulls' });
    expect(hub.count(GETS)).toBe(asked);
  });
});
