import { describe, expect, test } from 'vitest';
import type { BreakerEvent } from '../../../src/events/events.ts';
import type { UpstreamOptions } from '../../../src/upstream/registry/client.ts';
import type { Upstream } from '../../../src/upstream/upstream.ts';
import { generatedContent } from '../../fake/content.ts';
import type { FaultAction } from '../../fake/faults.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { ANYBODY, causeOf, hubAndUpstream, valueOf, watchedUpstream } from '../../support/upstream-client.ts';
import { eventually } from '../../support/wait.ts';

const { repository } = GOLANG;
const LATEST = { kind: 'tag', tag: 'latest' } as const;
const REGISTRY = { host: 'registry' } as const;

async function watched(options: Partial<UpstreamOptions> = {}) {
  const breakers: BreakerEvent[] = [];
  const parts = await hubAndUpstream({}, options, { breaker: (event) => void breakers.push(event) });
  const { hub, upstream, events } = parts;
  const head = (name = repository) => upstream.headManifest(name, LATEST, ANYBODY);
  const spared = () => events.filter(({ outcome }) => outcome === 'spared').length;
  const states = (kind: BreakerEvent['kind']) =>
    breakers.filter((event) => event.kind === kind && !event.isNew).map(({ state }) => state);
  return { hub, upstream, events, head, spared, states };
}

const ways: readonly (readonly [string, FaultAction])[] = [
  ['answers 500', { status: { code: 500 } }],
  ['answers with a page of HTML', { html: true }],
  ['hangs up', { hangUp: 'rst' }],
  ['sends something else than HTTP', { raw: 'SSH-2.0-OpenSSH_9.2\r\n' }],
  ['never answers', { hang: true }],
  ['answers later than the bound', { delayHeadersMs: 6000 }],
];

describe('a registry that', () => {
  test.each(ways)('%s is soon asked no more, and is asked again once it is well', async (_what, action) => {
    const { hub, upstream, head, spared, states } = await watched({ headersTimeoutMs: 2000 });
    valueOf(await head());
    const fault = hub.fault({ match: REGISTRY, do: action });
    const failure = await head();
    expect(failure.kind).toBe('unavailable');
    // Nobody asks meanwhile: it finds out by itself.
    await eventually(() => !upstream.isReachable(), 'the breaker to open');
    const asked = hub.count({ kind: 'manifest' });
    for (let i = 0; i < 20; i++) {
      const refusal = await head();
      expect(refusal).toMatchObject({ kind: 'unavailable', spared: true });
      expect(causeOf(refusal)).toMatch(/^[a-z-]+: 127.0.0.1:\d+ has been unreachable since \d{4}-.*Z: ./);
    }
    expect(hub.count({ kind: 'manifest' })).toBe(asked);
    expect(spared()).toBe(20);
    fault.remove();
    await eventually(() => upstream.isReachable(), 'the breaker to close');
    expect((await head()).kind).toBe('ok');
    expect(states('registry')[0]).toBe('open');
    expect(states('registry').at(-1)).toBe('closed');
  });

  test('refuses connections costs no attempt any more, and recovers without traffic', async () => {
    const { hub, upstream, head, spared } = await watched();
    valueOf(await head());
    await hub.stop();
    expect(causeOf(await head())).toContain('connection refused');
    await eventually(() => !upstream.isReachable(), 'the breaker to open');
    expect(causeOf(await head())).toMatch(/unreachable since .*connection refused/);
    expect(spared()).toBe(1);
    await hub.start();
    await eventually(() => upstream.isReachable(), 'the breaker to close');
    expect((await head()).kind).toBe('ok');
  });

  test('says no to content is well', async () => {
    const { hub, upstream, head, spared, states } = await watched();
    for (let i = 0; i < 5; i++) await head('library/none');
    for (const code of [401, 403, 404]) {
      const fault = hub.fault({ match: { kind: 'manifest' }, do: { status: { code } } });
      for (let i = 0; i < 5; i++) await head();
      fault.remove();
    }
    hub.setPulls({ limit: 100, remaining: 0, windowSeconds: 21_600 });
    for (let i = 0; i < 5; i++) await upstream.getManifest(repository, LATEST, ANYBODY);
    expect((await head()).kind).toBe('ok');
    expect(upstream.isReachable()).toBe(true);
    expect(states('registry')).toEqual([]);
    // Only the pulls of a limit that is used up are not sent.
    expect(spared()).toBe(4);
  });

  test('fails for one image only is well', async () => {
    const { hub, upstream, head, spared } = await watched();
    hub.fault({ match: { kind: 'manifest', repository }, do: { status: { code: 500 } } });
    for (let i = 0; i < 10; i++) expect((await head()).kind).toBe('unavailable');
    expect((await head(PLAIN.repository)).kind).toBe('ok');
    expect(upstream.isReachable()).toBe(true);
    expect(spared()).toBe(0);
  });

  test('has a broken ping is tried all the same', async () => {
    const { hub, states, head } = await watched();
    valueOf(await head());
    hub.fault({ match: { kind: 'ping' }, do: { status: { code: 500 } } });
    hub.fault({ match: { kind: 'manifest' }, times: 1, do: { status: { code: 500 } } });
    await head();
    await eventually(() => states('registry').includes('open'), 'the breaker to open');
    await eventually(async () => (await head()).kind === 'ok', 'a request to be let through');
    expect(states('registry').at(-1)).toBe('closed');
  });
});

describe('a registry that answers the ping but nothing else', () => {
  const head = (upstream: Upstream, name: string) =>
    upstream.headManifest(repository, { kind: 'tag', tag: name }, ANYBODY);

  /** It has failed and is to be tried; `trial` does so, and gets as its answer what `then` says once that is released. */
  async function onTrial(then: FaultAction) {
    const { hub, upstream, states } = await watched();
    valueOf(await head(upstream, 'latest'));
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 500 } } });
    for (const name of ['a', 'b', 'c']) await head(upstream, name);
    expect(states('registry')[0]).toBe('open');
    await eventually(() => states('registry').at(-1) === 'half-open', 'the ping to be answered');
    fault.remove();
    const answer = hub.fault({ match: { kind: 'manifest' }, times: 1, do: then });
    const asked = hub.count({ kind: 'manifest' });
    const trial = head(upstream, 'latest');
    const sent = () => hub.count({ kind: 'manifest' }) - asked;
    await eventually(() => sent() === 1, 'the trial to be sent');
    return { hub, upstream, states, answer, trial, sent };
  }

  /** Resolves when what `upstream` was asked before has been sent, if it was to be sent. */
  const sentByNow = async (hub: FakeHub) =>
    void valueOf(await watchedUpstream(hub.url).upstream.listTags(repository, {}, ANYBODY));

  test('is tried by one request, for which those that come meanwhile wait', async () => {
    const { hub, upstream, states, answer, trial, sent } = await onTrial({ holdHeaders: true });
    const others = Array.from({ length: 3 }, () => head(upstream, 'latest'));
    await sentByNow(hub);
    expect(sent()).toBe(1);
    answer.release();
    expect((await trial).kind).toBe('ok');
    for (const other of others) expect((await other).kind).toBe('ok');
    expect(states('registry')).toEqual(['open', 'half-open', 'closed']);
  });

  test('is asked nothing more by those who waited when the trial fails', async () => {
    const { hub, upstream, answer, trial, sent } = await onTrial({
      holdHeaders: true,
      status: { code: 500 },
    });
    const other = head(upstream, 'latest');
    await sentByNow(hub);
    answer.release();
    expect(await trial).toMatchObject({ kind: 'unavailable', cause: 'server-error' });
    expect(await other).toMatchObject({ kind: 'unavailable', spared: true });
    expect(sent()).toBe(1);
  });

  test('costs nobody else a long wait when the trial hangs', async () => {
    const { upstream, trial, sent } = await onTrial({ hang: true });
    expect(await head(upstream, 'latest')).toMatchObject({ spared: true });
    expect(await head(upstream, 'latest')).toMatchObject({ spared: true });
    expect(sent()).toBe(1);
    expect(await Promise.race([trial, Promise.resolve('still running')])).toBe('still running');
  });
});

describe('while the token service is down', () => {
  test('who has a token goes on, and others are refused at once', async () => {
    const { hub, upstream, head, states } = await watched();
    valueOf(await head());
    hub.fault({ match: { host: 'token' }, do: { hangUp: 'rst' } });
    expect(causeOf(await head(PLAIN.repository))).toMatch(/^unreachable: /);
    await eventually(() => states('tokens').includes('open'), 'the breaker to open');
    const asked = hub.count({ host: 'token', kind: 'token' });
    expect(causeOf(await head(PLAIN.repository))).toMatch(/the token service at .* unreachable since/);
    expect(hub.count({ host: 'token', kind: 'token' })).toBeLessThanOrEqual(asked + 1);
    expect((await head()).kind).toBe('ok');
    expect(upstream.outage(repository)).toBeUndefined();
    expect(upstream.outage(PLAIN.repository)).toContain('the token service');
    hub.clearFaults();
    await eventually(() => upstream.isReachable(), 'the breaker to close');
    expect((await head(PLAIN.repository)).kind).toBe('ok');
  });
});

describe('while the blob host is down', () => {
  test('manifests go on, and blobs are refused by the registry’s word alone', async () => {
    const { hub, upstream, head, states } = await watched();
    const blob = generatedContent({ size: 1000, seed: 7 });
    hub.addBlob(repository, blob);
    const get = () => upstream.getBlob(repository, blob.digest, { ...ANYBODY, offset: 0 });
    valueOf(await get()).close();
    expect(upstream.outage(repository)).toBeUndefined();
    const fault = hub.fault({ match: { host: 'blobs' }, do: { hangUp: 'rst' } });
    expect((await get()).kind).toBe('unavailable');
    await eventually(() => states('blobs').includes('open'), 'the breaker to open');
    const asked = hub.count({ host: 'blobs', kind: 'blob' });
    for (let i = 0; i < 5; i++) expect(await get()).toMatchObject({ spared: true });
    expect(hub.count({ host: 'blobs', kind: 'blob' })).toBe(asked);
    expect((await head()).kind).toBe('ok');
    expect(upstream.outage(repository)).toContain('unreachable since');
    expect(upstream.isReachable()).toBe(false);
    fault.remove();
    await eventually(() => upstream.isReachable(), 'the breaker to close');
    valueOf(await get()).close();
  });
});
