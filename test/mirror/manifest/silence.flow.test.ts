import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { ANYBODY, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';
import { eventually } from '../../support/wait.ts';

const NAMES = Array.from({ length: 6 }, (_, index) => `library/part-${index}`);
const target = (name: string): string => `/v2/${name}/manifests/latest`;
const named = (tag: string) => ({ kind: 'tag', tag }) as const;
const HEAD = { kind: 'manifest', method: 'HEAD' } as const;

/** Some repositories whose tags are cached, and stale at once. */
async function cachedTags(): Promise<{ readonly hub: FakeHub; readonly app: TestApp }> {
  const hub = await filledHub();
  for (const repository of NAMES) hub.add({ ...PLAIN, repository });
  const app = await startTestApp({ hub, flags: { tagTtl: '0s' } });
  for (const name of NAMES) expect((await app.get(target(name))).status).toBe(200);
  return { hub, app };
}

describe('while upstream is silent', () => {
  it('the first who has something in hand waits for it, and nobody after', async () => {
    const { hub, app } = await cachedTags();
    const [first = '', ...others] = NAMES;
    hub.fault({ do: { hang: true } });
    expect((await app.get(target(first))).header('warning')).toContain('did not answer within 2 s');
    for (const name of others) {
      const answer = await app.get(target(name));
      expect(answer.status).toBe(200);
      expect(answer.header('cache-status')).toBe('pierhead; hit; detail=stale-if-error');
      expect(answer.header('warning')).toMatch(/^299 - "docker.io has answered nothing for .*last confirmed/);
    }
    // It is not known to be down: whoever has nothing in hand is still to be waited for.
    expect(await metric(app, 'pierhead_upstream_breaker_state', 'kind="registry"')).toBe(0);
    expect(await metric(app, 'pierhead_upstream_state', 'state="silent"')).toBe(1);
    // All were asked behind their answers, so none stays unchecked if upstream comes back.
    await eventually(() => hub.count(HEAD) === NAMES.length, 'a HEAD for each tag');
    hub.clearFaults();
    await eventually(async () => (await app.get(target(first))).header('warning') === undefined, 'a check');
    expect(await metric(app, 'pierhead_upstream_state', 'state="up"')).toBe(1);
    expect(await metric(app, 'pierhead_upstream_state')).toBe(1);
  });

  it('a verdict on who may see a repository stands without a wait', async () => {
    const hub = await filledHub();
    const start = Date.now();
    let now = start;
    const env = { PIERHEAD_UPSTREAM_USERNAME: 'carol', PIERHEAD_UPSTREAM_PASSWORD: 'secret' };
    const app = await startTestApp({ hub, env, now: () => now });
    for (const name of [GOLANG.repository, PLAIN.repository]) await app.get(target(name));
    now = start + 25 * 60 * 60 * 1000;
    hub.fault({ do: { hang: true } });
    expect((await app.get(target(GOLANG.repository))).header('warning')).toContain('docker.io');
    const asked = app.begin(target(PLAIN.repository));
    expect((await asked.finished()).header('warning')).toContain('has answered nothing for');
  });
});

describe('an upstream', () => {
  it('is slow from two seconds without an answer until it gives any', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const { repository } = GOLANG;
    valueOf(await upstream.headManifest(repository, named('latest'), ANYBODY));
    const head = hub.fault({ match: HEAD, do: { holdHeaders: true } });
    const ping = hub.fault({ match: { kind: 'ping' }, do: { holdHeaders: true } });
    const asked = upstream.headManifest(repository, named('latest'), ANYBODY);
    await ping.reached;
    expect(upstream.isSlow(repository)).toBe(true);
    expect(upstream.isReachable()).toBe(true);
    ping.release();
    await eventually(() => !upstream.isSlow(repository), 'the ping to be taken for an answer');
    head.release();
    expect((await asked).kind).toBe('ok');
  });

  it('that answers others meanwhile is not slow', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const { repository } = GOLANG;
    valueOf(await upstream.headManifest(repository, named('latest'), ANYBODY));
    const head = hub.fault({ match: HEAD, times: 1, do: { holdHeaders: true } });
    const ping = hub.fault({ match: { kind: 'ping' }, do: { holdHeaders: true } });
    const asked = upstream.headManifest(repository, named('latest'), ANYBODY);
    await head.reached;
    valueOf(await upstream.headManifest(repository, named('latest'), ANYBODY));
    await ping.reached;
    expect(upstream.isSlow(repository)).toBe(false);
    ping.release();
    head.release();
    expect((await asked).kind).toBe('ok');
  });

  it('is slow if a caller reports a wait that was too long, as for another server', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const { repository } = GOLANG;
    const before = performance.now();
    valueOf(await upstream.headManifest(repository, named('latest'), ANYBODY));
    const ping = hub.fault({ match: { kind: 'ping' }, do: { holdHeaders: true } });
    upstream.reportSlow(before);
    expect(upstream.isSlow(repository)).toBe(false);
    upstream.reportSlow(performance.now());
    expect(upstream.isSlow(repository)).toBe(true);
    ping.release();
    await eventually(() => !upstream.isSlow(repository), 'the ping to be taken for an answer');
  });

  it('that answers pings and nothing else is down, and slow while it is tried again', async () => {
    const { hub, upstream } = await hubAndUpstream({}, { headersTimeoutMs: 3000 });
    const { repository } = GOLANG;
    valueOf(await upstream.headManifest(repository, named('latest'), ANYBODY));
    const fault = hub.fault({ match: HEAD, do: { hang: true } });
    const ask = (...names: string[]) =>
      Promise.all(names.map((name) => upstream.headManifest(repository, named(name), ANYBODY)));
    await ask('a', 'a', 'a');
    // One image that is stuck is no outage.
    expect(upstream.isSlow(repository)).toBe(false);
    await ask('b', 'c');
    await eventually(() => upstream.isSlow(repository), 'the outage to be known');
    fault.remove();
    await eventually(
      async () => (await upstream.headManifest(repository, named('latest'), ANYBODY)).kind === 'ok',
      'a request to be let through',
    );
    expect(upstream.isSlow(repository)).toBe(false);
  });
});
