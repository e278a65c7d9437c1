import { chmod, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { generatedContent } from '../fake/content.ts';
import type { FakeHub } from '../fake/hub.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { filledHub, GOLANG, served } from '../support/filled-hub.ts';
import { metric } from '../support/metrics.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const MIB = 1024 * 1024;
const PRIVATE = 'carol/private/manifests/latest';

/** The identities under which a stand-in has given manifests. */
function identities(hub: FakeHub): Set<string | undefined> {
  const given = hub.requests.filter(({ kind, status }) => kind === 'manifest' && status === 200);
  return new Set(given.map(({ identity }) => identity));
}

function logged(app: TestApp): string {
  return JSON.stringify(app.log);
}

describe('several upstreams', () => {
  it('are reached by ns, by host in the path and by default, each with its own credentials and content', async () => {
    const [hub, quay, ghcr] = [await filledHub(), await filledHub(), await filledHub({ auth: 'basic' })];
    const yaml = [
      'upstreams:',
      `  quay.io: { url: "${quay.url}", username: carol, password: secret, private: ["**"] }`,
      `  ghcr.io: { url: "${ghcr.url}", username: dave, password: other, private: ["**"] }`,
    ].join('\n');
    const app = await startTestApp({ hub, yaml });
    const status = async (target: string) => (await app.get(target)).status;
    expect(await status('/v2/golang/manifests/latest')).toBe(200);
    expect(await status('/v2/library/golang/manifests/latest?ns=quay.io')).toBe(200);
    expect(await status('/v2/ghcr.io/library/golang/manifests/latest')).toBe(200);
    expect([hub, quay, ghcr].map((one) => served(one, { kind: 'manifest' }))).toEqual([1, 1, 1]);
    expect(await status(`/v2/quay.io/${PRIVATE}`)).toBe(200);
    expect(await status(`/v2/ghcr.io/${PRIVATE}`)).toBe(404);
    expect(await status(`/v2/${PRIVATE}`)).toBe(404);
    expect([hub, quay, ghcr].map(identities)).toEqual(
      [['anonymous'], ['carol'], ['dave']].map((names) => new Set(names)),
    );
    for (const one of [hub, quay, ghcr]) expect(one.violations).toEqual([]);
  });

  it('fail each for itself', async () => {
    const [hub, quay] = [await filledHub(), await filledHub()];
    const app = await startTestApp({ hub, yaml: `upstreams:\n  quay.io: "${quay.url}"` });
    await quay.stop();
    const targets = ['/v2/quay.io/library/golang/manifests/latest', '/v2/library/golang/manifests/latest'];
    expect((await app.get(targets[0] ?? '')).status).toBe(503);
    expect((await app.get(targets[1] ?? '')).status).toBe(200);
    await eventually(
      async () => (await app.get('/readyz')).body.toString().includes('quay.io'),
      'the breaker',
    );
    expect((await app.get('/readyz')).body.toString()).not.toContain('docker.io');
  });

  it('have time limits of their own', async () => {
    const [hub, quay] = [await filledHub(), await filledHub()];
    const yaml = `upstreams:\n  quay.io: { url: "${quay.url}", headersTimeout: 3s }`;
    const app = await startTestApp({ hub, yaml });
    quay.fault({ match: { kind: 'manifest' }, do: { hang: true } });
    const answer = await app.get('/v2/quay.io/library/golang/manifests/latest');
    expect([answer.status, answer.body.toString()]).toEqual([503, expect.stringContaining('within 3 s')]);
  });
});

describe('the login of an upstream', () => {
  it('may come from a credential helper that the settings name', async () => {
    const folder = await testFolder();
    const program = join(folder, 'docker-credential-office');
    const answer = '{"ServerURL":"x","Username":"carol","Secret":"secret"}';
    await writeFile(program, `#!/bin/sh\nread server\n[ "$server" = quay.io ] && echo '${answer}'\n`);
    await chmod(program, 0o755);
    vi.stubEnv('PATH', `${folder}${delimiter}${process.env['PATH'] ?? ''}`);
    onTestFinished(() => void vi.unstubAllEnvs());
    const [hub, quay] = [await filledHub(), await filledHub()];
    const entry = `{ url: "${quay.url}", credentialHelper: office, private: [carol/*] }`;
    const app = await startTestApp({ hub, yaml: `upstreams:\n  quay.io: ${entry}` });
    expect((await app.get(`/v2/quay.io/${PRIVATE}`)).status).toBe(200);
    expect(identities(quay)).toEqual(new Set(['carol']));
    expect(logged(app)).not.toContain('"secret"');
    expect(logged(app)).not.toContain(Buffer.from('carol:secret').toString('base64'));
  });

  it("may come from Docker's config.json, and its lack is told of without a word of what is there", async () => {
    const hub = await filledHub();
    const dockerConfig = join(await testFolder(), 'config.json');
    const auth = Buffer.from('carol:secret').toString('base64');
    await writeFile(dockerConfig, JSON.stringify({ auths: { 'other.example': { auth } } }));
    const env = { PIERHEAD_UPSTREAM_DOCKER_CONFIG: dockerConfig, PIERHEAD_UPSTREAM_PRIVATE: 'carol/*' };
    const app = await startTestApp({ hub, env });
    const without = await app.get(`/v2/${PRIVATE}`);
    expect([without.status, without.body.toString()]).toEqual([
      503,
      expect.stringContaining('holds no credentials for docker.io'),
    ]);
    expect(without.body.toString()).not.toContain(auth);
    await writeFile(dockerConfig, JSON.stringify({ auths: { 'https://index.docker.io/v1/': { auth } } }));
    expect((await app.get(`/v2/${PRIVATE}`)).status).toBe(200);
    expect(logged(app)).not.toContain(auth);
  });

  it('counts as credentials, so that what is private needs a pattern', async () => {
    const hub = await filledHub();
    const dockerConfig = join(await testFolder(), 'config.json');
    const auth = Buffer.from('carol:secret').toString('base64');
    await writeFile(dockerConfig, JSON.stringify({ auths: { 'https://index.docker.io/v1/': { auth } } }));
    const app = await startTestApp({ hub, env: { PIERHEAD_UPSTREAM_DOCKER_CONFIG: dockerConfig } });
    expect((await app.get(`/v2/${PRIVATE}`)).status).toBe(404);
    expect((await app.get('/v2/library/golang/manifests/latest')).status).toBe(200);
    expect(identities(hub)).toEqual(new Set(['anonymous', 'carol']));
  });
});

describe('the bandwidth of an upstream', () => {
  it('holds back its transfers and nothing else', async () => {
    const blob = generatedContent({ size: 64 * MIB, seed: 11 });
    const other = generatedContent({ size: 4 * MIB, seed: 12 });
    const [hub, slow] = [await filledHub(), await filledHub()];
    slow.addBlob('library/golang', blob);
    hub.addBlob('library/golang', other);
    const yaml = `upstreams:\n  quay.io: { url: "${slow.url}", bandwidth: 8kbit/s }`;
    const app = await startTestApp({ hub, yaml });
    const held = app.begin(`/v2/quay.io/library/golang/blobs/${blob.digest}`);
    expect((await held.head()).status).toBe(200);
    const free = await app.get(`/v2/library/golang/blobs/${other.digest}`);
    expect([free.complete, free.bodyBytes]).toEqual([true, other.size]);
    let before = -1;
    await eventually(async () => {
      const now = slow.bytesSent(blob.digest);
      const isStill = now > 0 && now === before;
      before = now;
      return isStill;
    }, 'the slow one to stand still');
    expect(slow.bytesSent(blob.digest)).toBeLessThan(blob.size / 2);
    expect((await app.get('/v2/quay.io/library/golang/manifests/latest')).status).toBe(200);
    const manifestBytes = GOLANG.image.root.bytes.length;
    const received = await metric(app, 'pierhead_upstream_body_bytes_total', 'upstream="quay.io"');
    expect(received).toBeLessThan(MIB + manifestBytes);
    held.destroy();
  });
});
