import { join } from 'node:path';
import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startFakeHub, type FakeHub } from '../fake/hub.ts';
import { clientFiles } from '../../src/setup/client-files.ts';
import { golangFixture, plainFixture } from '../fixtures/images.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/dockerd.ts';
import { digestsOf } from '../support/image-digests.ts';
import { skopeo } from '../support/skopeo.ts';
import { testFolder } from '../support/temp.ts';

const golang = golangFixture();

describe('A registry besides Docker Hub', () => {
  let hub: FakeHub;
  let quay: FakeHub;
  let app: TestApp;

  beforeEach(async () => {
    hub = await startFakeHub();
    quay = await startFakeHub({ users: { carol: 'secret' } });
    quay.add({ repository: 'org/golang', ...golang });
    quay.add({ repository: 'org/denied', ...golang });
    const entry = `{ url: "${quay.url}", username: carol, password: secret, deny: [org/denied] }`;
    app = await startTestApp({ hub, yaml: `upstreams:\n  quay.io: ${entry}\n` });
  });

  afterEach(async () => {
    await Promise.all([hub.close(), quay.close()]);
    expect([...hub.violations, ...quay.violations]).toEqual([]);
    expect(hub.requests).toEqual([]);
  });

  it('is pulled by containerd, which names it by ns', async () => {
    const containerd = await startContainerd({ mirror: new URL(app.url).host, alsoFor: 'quay.io' });
    onTestFinished(() => containerd.close());
    await containerd.pull('quay.io/org/golang:latest', '--platform', 'linux/amd64');
    const wanted = digestsOf(golang.image, 'linux/amd64');
    expect(await containerd.contentDigests()).toEqual([...wanted.manifests, ...wanted.blobs].sort());
  });

  it('is pulled by a Docker Engine, by its name in the path', async () => {
    const host = new URL(app.url).host;
    const dockerd = await startDockerd({ mirror: host });
    onTestFinished(() => dockerd.close());
    const name = `${host}/quay.io/org/golang:latest`;
    await dockerd.docker('pull', name);
    const inspected = await dockerd.docker('image', 'inspect', '--format', '{{index .RepoDigests 0}}', name);
    expect(inspected).toBe(`${host}/quay.io/org/golang@${golang.image.root.digest}`);
    const denied = await dockerd.attempt('pull', `${host}/quay.io/org/denied:latest`);
    expect(denied.stderr).toContain('may not be pulled here');
  });

  it('is copied by Skopeo, which says nothing of it, by the file that setup prints', async () => {
    hub.add({ repository: 'org/golang', tags: ['latest'], image: plainFixture().image });
    const folder = await testFolder();
    const { file } = clientFiles('podman', { url: app.url, registry: 'quay.io', hasOwnAuthority: false });
    const conf = join(folder, 'registries.conf');
    await writeFile(conf, file.text);
    const source = 'docker://quay.io/org/golang:latest';
    await skopeo('--registries-conf', conf, 'copy', '--all', source, `dir:${folder}/copy`);
    expect(await readFile(join(folder, 'copy/manifest.json'))).toEqual(golang.image.root.bytes);
  });

  it('is copied by Skopeo, by its name in the path', async () => {
    const folder = await testFolder();
    const source = `docker://${new URL(app.url).host}/quay.io/org/golang:latest`;
    await skopeo('copy', '--all', '--src-tls-verify=false', source, `dir:${folder}`);
    expect(await readFile(join(folder, 'manifest.json'))).toEqual(golang.image.root.bytes);
  });
});
