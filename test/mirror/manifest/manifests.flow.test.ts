import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { startTestApp } from '../../support/app.ts';
import { filledHub, GOLANG, PLAIN, served } from '../../support/filled-hub.ts';

const index = GOLANG.image.root;
const child = (platform: string) => {
  const image = GOLANG.image.images.get(platform);
  if (image === undefined) throw new Error(`the fixture has no ${platform}`);
  return image.root;
};
const acceptAll = [['Accept', `${OCI_INDEX}, ${OCI_MANIFEST}, ${DOCKER_MANIFEST}`]] as const;
const acceptImagesOnly = [['Accept', `${OCI_MANIFEST}, ${DOCKER_MANIFEST}`]] as const;
const agent = (os: string, arch: string) =>
  [...acceptImagesOnly, ['User-Agent', `docker/28.5.2 go/go1.24 os/${os} arch/${arch}`]] as const;

describe('a manifest', () => {
  it('comes verbatim, with every header that clients demand, by GET and by HEAD', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const got = await app.get('/v2/library/golang/manifests/latest', { headers: acceptAll });
    expect(got.status).toBe(200);
    expect(got.body.equals(index.bytes)).toBe(true);
    const head = await app.head('/v2/library/golang/manifests/latest', { headers: acceptAll });
    expect(head.status).toBe(200);
    expect(head.body).toHaveLength(0);
    for (const answer of [got, head]) {
      expect(answer.header('content-type')).toBe(OCI_INDEX);
      expect(answer.header('content-length')).toBe(String(index.bytes.length));
      expect(answer.header('docker-content-digest')).toBe(index.digest);
      expect(answer.header('etag')).toBe(`"${index.digest}"`);
      expect(answer.header('docker-distribution-api-version')).toBe('registry/2.0');
    }
    expect(got.header('cache-status')).toBe('pierhead; fwd=uri-miss; stored');
    expect(head.header('cache-status')).toBe('pierhead; hit');
  });

  it('costs upstream one GET, however many ask at once', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const held = hub.fault({ match: { kind: 'manifest' }, do: { holdHeaders: true } });
    const asked = Array.from({ length: 10 }, () =>
      app.get('/v2/library/golang/manifests/latest', { headers: acceptAll }),
    );
    await held.reached;
    await app.caughtUp();
    held.release();
    const answers = await Promise.all(asked);
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(
      answers.filter((answer) => answer.header('cache-status') === 'pierhead; fwd=uri-miss; collapsed'),
    ).toHaveLength(9);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(1);
  });

  it('is kept although the first client goes away', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const held = hub.fault({ match: { kind: 'manifest' }, do: { holdHeaders: true } });
    const first = app.begin('/v2/library/golang/manifests/latest');
    await held.reached;
    const second = app.get('/v2/library/golang/manifests/latest');
    await app.caughtUp();
    first.destroy();
    held.release();
    expect((await second).status).toBe(200);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(1);
  });

  it('by digest is never substituted, whatever the client accepts', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const headers of [acceptImagesOnly, [['Accept', 'text/plain']] as const, []]) {
      const got = await app.get(`/v2/library/golang/manifests/${index.digest}?platform=linux/arm64`, {
        headers,
      });
      expect(got.status).toBe(200);
      expect(got.header('docker-content-digest')).toBe(index.digest);
    }
  });

  it('survives a restart and the loss of upstream', async () => {
    const hub = await filledHub();
    const first = await startTestApp({ hub });
    await first.get('/v2/library/golang/manifests/latest');
    await first.get(`/v2/library/golang/manifests/${child('linux/amd64').digest}`);
    await first.stop();
    await hub.stop();
    const second = await startTestApp({ hub, dataDir: first.dataDir });
    const byTag = await second.get('/v2/library/golang/manifests/latest');
    expect(byTag.body.equals(index.bytes)).toBe(true);
    const byDigest = await second.get(`/v2/library/golang/manifests/${child('linux/amd64').digest}`);
    expect(byDigest.status).toBe(200);
    expect(byDigest.header('cache-status')).toBe('pierhead; hit');
  });

  it('that upstream corrupts is neither served nor kept', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const fault = hub.fault({ match: { kind: 'manifest', method: 'GET' }, do: { corruptAt: 20 } });
    const broken = await app.get(`/v2/library/golang/manifests/${index.digest}`);
    expect(broken.status).toBe(503);
    expect(JSON.parse(broken.body.toString())).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] });
    fault.remove();
    expect((await app.get(`/v2/library/golang/manifests/${index.digest}`)).status).toBe(200);
  });

  it('that is unknown upstream is a 404, remembered for a short time', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const errors = [{ code: 'MANIFEST_UNKNOWN', message: 'golang:none does not exist on docker.io' }];
    const first = await app.get('/v2/library/golang/manifests/none');
    expect(first.status).toBe(404);
    expect(JSON.parse(first.body.toString())).toMatchObject({ errors });
    const asked = served(hub, { kind: 'manifest' });
    const second = await app.get('/v2/library/golang/manifests/none');
    expect(second.status).toBe(404);
    expect(JSON.parse(second.body.toString())).toMatchObject({ errors });
    expect(second.header('cache-status')).toBe('pierhead; hit; detail=negative');
    expect(served(hub, { kind: 'manifest' })).toBe(asked);
  });

  it('is a 404 for a repository that upstream refuses', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/carol/private/manifests/latest');
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'NAME_UNKNOWN' }] });
  });

  it('that is not cached while upstream is away is a 503 that says why', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    await hub.stop();
    const answer = await app.get('/v2/library/golang/manifests/latest');
    expect(answer.status).toBe(503);
    expect(answer.header('cache-control')).toBe('no-store');
    const { errors } = JSON.parse(answer.body.toString()) as { errors: { message: string }[] };
    expect(errors[0]?.message).toMatch(/not cached.*connection/);
  });

  it('answers 304 to who has it', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const value of [`"${index.digest}"`, index.digest, `"x", W/"${index.digest}"`, '*']) {
      const answer = await app.get('/v2/library/golang/manifests/latest', {
        headers: [['If-None-Match', value]],
      });
      expect(answer.status).toBe(304);
      expect(answer.body).toHaveLength(0);
    }
    const other = await app.get('/v2/library/golang/manifests/latest', {
      headers: [['If-None-Match', '"x"']],
    });
    expect(other.status).toBe(200);
  });

  it('is found by the short name of an official image, by ns and by host in the path', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const target of [
      '/v2/golang/manifests/latest',
      '/v2/library/golang/manifests/latest?ns=docker.io',
      '/v2/golang/manifests/latest?ns=registry-1.docker.io',
      '/v2/docker.io/library/golang/manifests/latest',
      '/v2/index.docker.io/golang/manifests/latest',
      // What containerd sends to a mirror with a path and `override_path`, and k3s and RKE2 with `rewrite`.
      '/v2/docker.io/library/golang/manifests/latest?ns=docker.io',
      '/v2/registry-1.docker.io/golang/manifests/latest?ns=index.docker.io',
    ]) {
      expect((await app.get(target)).header('docker-content-digest'), target).toBe(index.digest);
    }
    const named = await app.get('/v2/library/golang/manifests/latest?ns=docker.io');
    expect(named.header('oci-namespace')).toBe('docker.io');
    expect(hub.violations).toEqual([]);
  });

  it('of a registry that is not configured is a 404, and nothing is dialled', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    for (const target of [
      '/v2/library/golang/manifests/latest?ns=169.254.169.254',
      '/v2/library/golang/manifests/latest?ns=quay.io',
      '/v2/quay.io/org/app/manifests/latest',
      '/v2/quay.io/org/app/manifests/latest?ns=quay.io',
      '/v2/localhost:1234/app/manifests/latest',
      '/v2/golang/manifests/latest?ns=__proto__',
    ]) {
      const answer = await app.get(target);
      expect(answer.status, target).toBe(404);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ errors: [{ code: 'NAME_UNKNOWN' }] });
    }
    expect(hub.requests).toEqual([]);
  });
});

describe('a HEAD of a tag that was never seen', () => {
  it('is a HEAD upstream, and the GET that follows needs no second look at the tag', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const head = await app.head('/v2/library/golang/manifests/latest', { headers: acceptAll });
    expect(head.header('docker-content-digest')).toBe(index.digest);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(0);
    const got = await app.get(`/v2/library/golang/manifests/${index.digest}`, { headers: acceptAll });
    expect(got.body.equals(index.bytes)).toBe(true);
    await hub.stop();
    const again = await app.head('/v2/library/golang/manifests/latest', { headers: acceptAll });
    expect(again.header('cache-status')).toBe('pierhead; hit');
    expect((await app.get('/v2/library/golang/manifests/latest')).body.equals(index.bytes)).toBe(true);
  });

  it('gives the child to a client that takes no lists, at the price of fetching the list', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const head = await app.head('/v2/library/golang/manifests/latest', { headers: acceptImagesOnly });
    const wanted = child('linux/amd64');
    expect(head.header('docker-content-digest')).toBe(wanted.digest);
    expect(head.header('content-length')).toBe(String(wanted.bytes.length));
    expect(head.header('content-type')).toBe(OCI_MANIFEST);
  });
});

describe('an upstream whose HEAD is wrong about the type', () => {
  const LATEST = '/v2/library/plain/manifests/latest';
  const { digest, mediaType, bytes } = PLAIN.image.root;

  async function appBehind(type: string) {
    const hub = await filledHub();
    const headers = { 'content-type': type, 'docker-content-digest': digest };
    const status = { code: 200, body: bytes, headers };
    hub.fault({ match: { kind: 'manifest', method: 'HEAD' }, do: { status } });
    return startTestApp({ hub });
  }

  it('is not believed if that is none of a manifest', async () => {
    const app = await appBehind('application/json');
    for (const method of ['HEAD', 'GET', 'HEAD']) {
      const answer = await app.get(LATEST, { method, headers: acceptAll });
      expect(answer.status).toBe(200);
      expect(answer.header('content-type')).toBe(mediaType);
    }
  });

  it('nor of what is here, whoever answers', async () => {
    const app = await appBehind(OCI_INDEX);
    await app.get(`/v2/library/plain/manifests/${digest}`);
    for (const method of ['HEAD', 'GET', 'HEAD']) {
      const answer = await app.get(LATEST, { method, headers: acceptImagesOnly });
      expect(answer.status).toBe(200);
      expect(answer.header('content-type')).toBe(mediaType);
    }
  });
});

describe('a client that takes no lists', () => {
  it.each([
    ['linux/amd64', agent('linux', 'amd64')],
    ['linux/arm64/v8', agent('linux', 'arm64')],
    ['windows/amd64', agent('windows', 'amd64')],
    ['linux/amd64', acceptImagesOnly],
  ])('gets the %s manifest of its own platform', async (platform, headers) => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const wanted = child(platform);
    const got = await app.get('/v2/library/golang/manifests/latest', { headers });
    expect(got.status).toBe(200);
    expect(got.body.equals(wanted.bytes)).toBe(true);
    expect(got.header('docker-content-digest')).toBe(wanted.digest);
    const head = await app.head('/v2/library/golang/manifests/latest', { headers });
    expect(head.header('content-length')).toBe(String(wanted.bytes.length));
  });

  it('is not one that names them in a second Accept line', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const headers = [...agent('linux', 'arm64'), ['Accept', OCI_INDEX]] as const;
    const got = await app.get('/v2/library/golang/manifests/latest', { headers });
    expect(got.header('docker-content-digest')).toBe(index.digest);
  });

  it('gets 404 with what there is when nothing fits', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/library/golang/manifests/latest', { headers: agent('linux', 's390x') });
    expect(answer.status).toBe(404);
    expect(answer.body.toString()).toContain('linux/arm/v7');
  });

  it('gets a tag that is no list as it is', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const got = await app.get('/v2/library/plain/manifests/latest', { headers: acceptImagesOnly });
    expect(got.body.equals(PLAIN.image.root.bytes)).toBe(true);
  });
});

describe('?platform=', () => {
  it('resolves for every client', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const got = await app.get('/v2/library/golang/manifests/latest?platform=linux/arm64', {
      headers: acceptAll,
    });
    expect(got.header('docker-content-digest')).toBe(child('linux/arm64/v8').digest);
  });

  it('that is none is a 400 that says what is allowed', async () => {
    const hub = await filledHub();
    const app = await startTestApp({ hub });
    const answer = await app.get('/v2/library/golang/manifests/latest?platform=arm64');
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toContain('os/architecture');
  });
});

describe('content of another repository', () => {
  it('is not had by its digest unless upstream has it there too', async () => {
    const hub = await filledHub();
    hub.add({
      repository: 'other/app',
      tags: ['v1'],
      image: { root: PLAIN.image.root, manifests: [], blobs: [] },
    });
    hub.add({ repository: 'twin/plain', tags: ['v1'], image: PLAIN.image });
    const app = await startTestApp({ hub });
    const { digest } = PLAIN.image.root;
    expect((await app.get(`/v2/library/plain/manifests/${digest}`)).status).toBe(200);
    expect((await app.get(`/v2/other/app/manifests/${digest}`)).status).toBe(404);
    const gets = served(hub, { kind: 'manifest', method: 'GET' });
    const twin = await app.get(`/v2/twin/plain/manifests/${digest}`);
    expect(twin.status).toBe(200);
    expect(digestOf(twin.body)).toBe(digest);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(gets);
  });
});
