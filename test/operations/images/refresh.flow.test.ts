import { describe, expect, it, onTestFinished } from 'vitest';
import { multiPlatform } from '../../fixtures/images.ts';
import { refresh } from '../../support/admin.ts';
import { startTestApp } from '../../support/app.ts';
import { runCommand } from '../../support/command.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import { fetchRaw, rawRequest } from '../../support/http.ts';
import { startPierhead } from '../../support/pierhead.ts';
import { testFolder } from '../../support/temp.ts';
import { eventually } from '../../support/wait.ts';

const LATEST = '/v2/library/golang/manifests/latest';
const old = GOLANG.image.root.digest;
const renewed = multiPlatform({ message: 'renewed' });
const longFresh = { flags: { tagTtl: '1h' } };

describe('POST /api/v1/refresh', () => {
  it('checks a tag that is fresh, and says what came of it', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, ...longFresh });
    await app.get(LATEST);
    const image = 'golang:latest';
    expect((await refresh(app, 'golang')).json).toEqual({ image, result: 'unchanged', digest: old });
    expect(served(hub, { kind: 'manifest', method: 'HEAD' })).toBe(1);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const to = renewed.root.digest;
    expect((await refresh(app, 'docker.io/library/golang:latest')).json).toEqual({
      image,
      result: 'moved',
      from: old,
      to,
    });
    expect((await app.get(LATEST)).header('docker-content-digest')).toBe(to);
    hub.removeTag('library/golang', 'latest');
    expect((await refresh(app, 'golang')).json).toMatchObject({ image, result: 'gone' });
    expect((await app.get(LATEST)).status).toBe(404);
  });

  it('says why a tag could not be checked, and leaves it as fresh as it was', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, ...longFresh });
    await app.get(LATEST);
    const fault = hub.fault({ match: { kind: 'manifest' }, do: { status: { code: 500 } } });
    const { status, json } = await refresh(app, 'golang');
    expect(status).toBe(200);
    expect(json).toMatchObject({ image: 'golang:latest', result: 'unchecked', digest: old });
    expect(json['reason']).toContain('500');
    fault.remove();
    const answer = await app.get(LATEST);
    expect(answer.header('cache-status')).toBe('pierhead; hit');
    expect(answer.header('warning')).toBeUndefined();
  });

  it('names the manifest that a tag has moved to if that cannot be fetched', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, ...longFresh });
    await app.get(LATEST);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    hub.fault({ match: { kind: 'manifest', method: 'GET' }, do: { status: { code: 500 } } });
    const { json } = await refresh(app, 'golang');
    expect(json).toMatchObject({ result: 'unchecked', digest: old });
    expect(json['reason']).toContain(renewed.root.digest);
  });

  it('asks once more if it joined a check whose HEAD got lost', { timeout: 60_000 }, async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { tagTtl: '1h', headersTimeout: '2500ms' } });
    await app.get(LATEST);
    const head = { kind: 'manifest', method: 'HEAD' } as const;
    const lost = hub.fault({ match: head, times: 1, do: { hang: true } });
    const first = refresh(app, 'golang');
    await eventually(() => lost.hits === 1, 'the HEAD that gets lost');
    const joined = [refresh(app, 'golang'), refresh(app, 'golang')];
    expect((await first).json).toMatchObject({ result: 'unchecked' });
    for (const { json } of await Promise.all(joined)) expect(json).toMatchObject({ result: 'unchanged' });
    expect(served(hub, head)).toBe(2);
  });

  it('checks what is otherwise never checked', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const app = await startTestApp({ hub, flags: { tagTtl: 'never' } });
    await app.get(LATEST);
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    expect((await refresh(app, 'golang')).json).toMatchObject({ result: 'moved' });
  });

  it('forgets a remembered absence', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub, flags: { negativeTtl: '1h' } });
    hub.removeTag('library/golang', 'latest');
    expect((await app.get(LATEST)).status).toBe(404);
    hub.moveTag('library/golang', 'latest', old);
    expect((await refresh(app, 'golang')).status).toBe(404);
    expect((await app.get(LATEST)).status).toBe(200);
  });

  it.each([
    ['golang:none', undefined, 404],
    [`golang@${old}`, undefined, 400],
    ['GOLANG', undefined, 400],
    ['ghcr.io/org/app', undefined, 400],
    ['', undefined, 400],
    ['', '', 400],
    ['', '{"image": 1}', 400],
    ['', '[]', 400],
    ['', `{"image": "${'a'.repeat(70_000)}"}`, 413],
  ])('of %j, body %.20j, is refused', async (image, body, expected) => {
    const app = await startTestApp({ hub: await filledHub() });
    const { status } = await rawStatus(app.adminUrl, body ?? JSON.stringify({ image }));
    expect(status).toBe(expected);
  });

  it('is not for pages of other sites', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const { status } = await rawStatus(app.adminUrl, '{"image":"golang"}', [
      ['Origin', 'https://evil.example'],
    ]);
    expect(status).toBe(403);
  });
});

function rawStatus(origin: string, body: string, headers: readonly (readonly [string, string])[] = []) {
  return rawRequest({ origin, method: 'POST', target: '/api/v1/refresh', headers, body });
}

describe('`pierhead refresh`', () => {
  it('says the same beside a server and without one, tag by tag', async () => {
    const hub = await filledHub();
    hub.add({ repository: 'library/golang', image: renewed });
    const dataDir = await testFolder();
    const server = await startPierhead({ upstreamUrl: hub.url, dataDir, settings: { TAG_TTL: '1h' } });
    onTestFinished(() => server.close());
    for (const name of ['golang', 'plain'])
      await fetchRaw(`${server.url}/v2/library/${name}/manifests/latest`);
    const options = { dataDir, upstreamUrl: hub.url };
    hub.moveTag('library/golang', 'latest', renewed.root.digest);
    const beside = await runCommand(['refresh', 'golang', 'plain', 'none'], options);
    expect(beside.stdout.toString().split('\n')).toEqual([
      `golang:latest has moved from ${old} to ${renewed.root.digest}`,
      expect.stringMatching(/^plain:latest is unchanged: sha256:/),
      '',
    ]);
    expect(beside.stderr).toContain('none:latest is not cached');
    expect(beside.status).toBe(1);
    const answer = await fetchRaw(`${server.url}${LATEST}`);
    expect(answer.header('docker-content-digest')).toBe(renewed.root.digest);
    expect(await server.stop()).toBe(0);
    hub.moveTag('library/golang', 'latest', old);
    const alone = await runCommand(['refresh', 'golang'], options);
    expect(alone).toMatchObject({ status: 0, stderr: '' });
    expect(alone.stdout.toString()).toBe(`golang:latest has moved from ${renewed.root.digest} to ${old}\n`);
    await hub.stop();
    const cut = await runCommand(['refresh', 'golang'], options);
    expect(cut.status).toBe(1);
    expect(cut.stdout.toString()).toMatch(
      /^golang:latest could not be checked: .*; the cached image stays: sha256:/,
    );
  });
});
