import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { GOLANG } from '../../support/filled-hub.ts';
import { ANYBODY, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const SPENT = { limit: 100, remaining: 0, windowSeconds: 21_600 };
const PULLS = { kind: 'limited', scope: 'pulls' };
const ABUSE = { kind: 'limited', scope: 'abuse' };

describe('the pull limit', () => {
  test('is told from others by what it says, and concerns manifest GETs only', async () => {
    const { hub, upstream } = await hubAndUpstream({ pulls: SPENT });
    expect(await upstream.getManifest(repository, LATEST, ANYBODY)).toEqual(PULLS);
    expect((await upstream.headManifest(repository, LATEST, ANYBODY)).kind).toBe('ok');
    expect(hub.requests.filter(({ status }) => status === 429).length).toBe(1);
  });

  test.each([
    [
      'JSON',
      JSON.stringify({
        errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit.' }],
      }),
    ],
    [
      'plain text',
      'You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit',
    ],
  ])('is known by its words in %s', async (_what, body) => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 429, body } } });
    expect(await upstream.getManifest(repository, LATEST, ANYBODY)).toEqual(PULLS);
  });

  test('is known by nothing being left of it', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const headers = { 'ratelimit-remaining': '0;w=21600', 'retry-after': '7' };
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 429, headers } } });
    const outcome = await upstream.getManifest(repository, LATEST, ANYBODY);
    expect(outcome).toEqual({ ...PULLS, retryAfterMs: 7000 });
    expect(await upstream.headManifest(repository, LATEST, ANYBODY)).toEqual({
      ...ABUSE,
      retryAfterMs: 7000,
    });
  });
});

describe('a limit of any kind', () => {
  test.each([
    ['pulls', 'toomanyrequests: You have reached your pull rate limit.'],
    ['abuse', 'Too Many Requests'],
  ])('(%s) may ask for more time than any calendar has', async (scope, body) => {
    const states: (number | undefined)[] = [];
    const { hub, upstream } = await hubAndUpstream(
      {},
      {},
      { pullLimit: ({ state }) => void states.push(state.spentUntil) },
    );
    const headers = { 'retry-after': '999999999999999' };
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 429, body, headers } } });
    expect(await upstream.getManifest(repository, LATEST, ANYBODY)).toMatchObject({ kind: 'limited', scope });
    for (const until of states) expect(new Date(until ?? 0).getTime()).toBe(until);
    expect(states).toHaveLength(scope === 'pulls' ? 1 : 0);
  });
});

describe('the abuse limit', () => {
  test('stops requests of every kind for as long as it says', async () => {
    let nowMs = Date.now();
    const { hub, upstream, events } = await hubAndUpstream({}, { now: () => nowMs });
    valueOf(await upstream.headManifest(repository, LATEST, ANYBODY));
    hub.reset();
    const fault = hub.fault({ do: { abuseLimit: { retryAfterSeconds: 60 } } });
    const digest = digestOf(Buffer.from('x'));
    const limited = { ...ABUSE, retryAfterMs: 60_000 };
    const spared = { ...limited, spared: true };
    expect(await upstream.headManifest(repository, LATEST, ANYBODY)).toEqual(limited);
    expect(await upstream.headManifest(repository, LATEST, ANYBODY)).toEqual(spared);
    expect(await upstream.getManifest(repository, LATEST, ANYBODY)).toEqual(spared);
    expect(await upstream.headBlob(repository, digest, ANYBODY)).toEqual(spared);
    expect(await upstream.getBlob(repository, digest, { ...ANYBODY, offset: 0 })).toEqual(spared);
    expect(await upstream.listTags(repository, {}, ANYBODY)).toEqual(spared);
    expect(await upstream.listReferrers(repository, digest, ANYBODY)).toEqual(spared);
    expect(upstream.isReachable()).toBe(false);
    expect(upstream.outage()).toContain('limits requests of this server until');
    expect(hub.requests.length).toBe(1);
    expect(events.map(({ outcome }) => outcome).slice(-7)).toEqual([
      'abuse-limit',
      ...Array.from({ length: 6 }, () => 'spared'),
    ]);
    fault.remove();
    nowMs += 60_000;
    expect(upstream.isReachable()).toBe(true);
    expect((await upstream.headManifest(repository, LATEST, ANYBODY)).kind).toBe('ok');
  });

  test('lasts a minute if it does not say, and twice as long each time that it comes again', async () => {
    let nowMs = Date.now();
    const { hub, upstream } = await hubAndUpstream({}, { now: () => nowMs });
    hub.fault({ match: { host: 'registry' }, do: { abuseLimit: {} } });
    for (const seconds of [60, 120, 240, 480, 900, 900]) {
      expect(await upstream.headManifest(repository, LATEST, ANYBODY)).toEqual(ABUSE);
      nowMs += seconds * 1000 - 1;
      expect(await upstream.headManifest(repository, LATEST, ANYBODY)).toMatchObject({ spared: true });
      nowMs += 1;
    }
  });

  test('may come without a word, or with more words than anybody reads', async () => {
    for (const body of ['', '<html>', 'x'.repeat(1_000_000)]) {
      const { hub, upstream } = await hubAndUpstream();
      hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 429, body } } });
      expect(await upstream.getManifest(repository, LATEST, ANYBODY)).toEqual(ABUSE);
    }
  });

  test('is understood in the broken HTTP that Docker Hub has sent it in', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const raw =
      'HTTP/1.1 429 Too Many Requests\nRetry-After: 60\nContent-Type: text/plain\n\nToo Many Requests (HAP429).\n';
    hub.fault({ match: { kind: 'manifest' }, do: { raw } });
    const outcome = await upstream.headManifest(repository, LATEST, ANYBODY);
    expect(outcome).toEqual({ ...ABUSE, retryAfterMs: 60_000 });
  });

  test('may name the time when it ends', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const headers = { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() };
    hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 429, headers } } });
    const outcome = await upstream.headManifest(repository, LATEST, ANYBODY);
    if (outcome.kind !== 'limited') throw new Error(`not limited but ${outcome.kind}`);
    expect(outcome.retryAfterMs).toBeGreaterThan(3_500_000);
    expect(outcome.retryAfterMs).toBeLessThanOrEqual(3_600_000);
  });
});
