import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { FakeHub } from '../../fake/hub.ts';
import { multiPlatform } from '../../fixtures/images.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import { metric } from '../../support/metrics.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const HEAD = { kind: 'manifest', method: 'HEAD' } as const;
const renewed = multiPlatform({ message: 'renewed' });
/** Short, so that a habit is learnt within the time of a test. */
const TTL_MS = 400;

async function watching(
  hub: FakeHub,
  flags: Readonly<Record<string, string | boolean>> = {},
): Promise<TestApp> {
  return startTestApp({ hub, flags: { tagTtl: `${TTL_MS}ms`, ...flags } });
}

const checks = (app: TestApp, result: string): Promise<number> =>
  metric(app, 'pierhead_tag_checks_total', `result="${result}",trigger="background"`);
const watched = (app: TestApp): Promise<number> => metric(app, 'pierhead_tags_watched');

/** Asks again and again, as a fleet of builders does, until `isEnough`. */
async function askUntil(app: TestApp, isEnough: () => Promise<boolean>, label: string): Promise<void> {
  await eventually(async () => {
    expect((await app.get(LATEST)).status).toBe(200);
    return isEnough();
  }, label);
}

describe('A tag that is asked for regularly', () => {
  it('is checked before it is wanted, and followed when it has moved', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await watching(hub);
    await askUntil(app, async () => (await checks(app, 'unchanged')) > 0, 'a check in the background');
    // A client may be the first to see the move; in the long run it is not.
    const digests = [renewed.root.digest, GOLANG.image.root.digest];
    let next = 0;
    const seen = async (): Promise<boolean> => {
      const named = digests[next % 2] ?? GOLANG.image.root.digest;
      hub.moveTag('library/golang', 'latest', named);
      if ((await app.get(LATEST)).header('docker-content-digest') === named) next += 1;
      return (await checks(app, 'moved')) > 0;
    };
    await askUntil(app, seen, 'a move that was found in the background');
  });

  it('is left alone when it is no longer asked for', async () => {
    const hub = await filledHub();
    const app = await watching(hub);
    await askUntil(app, async () => (await checks(app, 'unchanged')) > 0, 'a check in the background');
    await eventually(async () => (await watched(app)) === 0, 'the habit to be given up');
    const heads = served(hub, HEAD);
    // Nothing is planned any more, so there is no event to wait for.
    await sleep(3 * TTL_MS);
    expect(served(hub, HEAD)).toBe(heads);
  });

  it('leaves the tag as fresh as it was when upstream fails', async () => {
    const hub = await filledHub();
    const app = await watching(hub, { tagTtl: '1s' });
    await askUntil(app, async () => (await checks(app, 'unchanged')) > 0, 'a check in the background');
    hub.fault({ match: HEAD, do: { status: { code: 500 } } });
    await askUntil(
      app,
      async () => (await metric(app, 'pierhead_tag_checks_total', 'result="failed"')) > 0,
      'a failure',
    );
    expect((await app.get(LATEST)).status).toBe(200);
  });
});

describe('Checks in the background', () => {
  it('are as many a minute as the settings allow', async () => {
    const hub = await filledHub();
    const app = await watching(hub, { backgroundChecks: '1' });
    const skipped = async (): Promise<boolean> =>
      (await metric(app, 'pierhead_tag_checks_skipped_total', 'reason="limit"')) > 0;
    await askUntil(app, skipped, 'the limit');
    expect((await checks(app, 'unchanged')) + (await checks(app, 'failed'))).toBe(1);
  });

  it.each([
    ['if the settings allow none', { backgroundChecks: '0' }],
    ['for tags that are never checked', { tagTtl: 'never' }],
    ['for tags that are always checked', { tagTtl: '0s' }],
  ])('there are none %s', async (_name, flags) => {
    const hub = await filledHub();
    const app = await watching(hub, flags);
    let asked = 0;
    await askUntil(app, () => Promise.resolve(++asked > 60), 'a habit');
    expect(await watched(app)).toBe(0);
    expect(await metric(app, 'pierhead_tag_checks_total', 'trigger="background"')).toBe(0);
  });

  it('there are none offline', async () => {
    const hub = await filledHub();
    const first = await watching(hub);
    await first.get(LATEST);
    await first.stop();
    const app = await startTestApp({
      hub,
      dataDir: first.dataDir,
      flags: { tagTtl: `${TTL_MS}ms`, offline: true },
    });
    let asked = 0;
    await askUntil(app, () => Promise.resolve(++asked > 60), 'a habit');
    expect(await metric(app, 'pierhead_tag_checks_total', 'trigger="background"')).toBe(0);
  });
});
