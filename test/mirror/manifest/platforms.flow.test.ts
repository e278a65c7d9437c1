import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { FakeHub } from '../../fake/hub.ts';
import type { ImageContent } from '../../fake/library.ts';
import {
  image,
  LINUX_AMD64,
  LINUX_ARM64,
  LINUX_ARM_V7,
  manifestDescriptor,
  multiPlatform,
  type MediaTypes,
} from '../../fixtures/images.ts';
import { absentEntry, entryOf, listOf, schema1, windowsList } from '../../fixtures/lists.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { filledHub, GOLANG, served } from '../../support/filled-hub.ts';
import type { RawResponse } from '../../support/http.ts';
import { errorMessage } from '../../support/hub-client.ts';

type Headers = readonly (readonly [string, string])[];
const IMAGES_ONLY: Headers = [['Accept', `${OCI_MANIFEST}, ${DOCKER_MANIFEST}`]];
const EVERYTHING: Headers = [['Accept', `${OCI_INDEX}, ${DOCKER_LIST}, ${OCI_MANIFEST}, ${DOCKER_MANIFEST}`]];
const agent = (platform: string): Headers => {
  const [os, arch] = platform.split('/');
  return [...IMAGES_ONLY, ['User-Agent', `docker/28.5.2 go/go1.24 os/${os} arch/${arch}`]];
};
const golang = (platform: string) => GOLANG.image.images.get(platform)?.root.digest;

async function hubWith(content: ImageContent): Promise<FakeHub> {
  const hub = await filledHub();
  hub.add({ repository: 'library/app', tags: ['latest'], image: content });
  return hub;
}

async function appWith(content: ImageContent, yaml?: string): Promise<{ hub: FakeHub; app: TestApp }> {
  const hub = await hubWith(content);
  return { hub, app: await startTestApp({ hub, ...(yaml === undefined ? {} : { yaml }) }) };
}

const digestOfAnswer = (answer: RawResponse) => answer.header('docker-content-digest');
const APP = '/v2/library/app/manifests/latest';
const TAG = '/v2/library/golang/manifests/latest';

describe('a client of a network with a platform', () => {
  const armV7 = 'clients: [{ network: 127.0.0.0/8, platform: linux/arm/v7 }]';
  const always = 'clients: [{ network: 127.0.0.0/8, platform: linux/arm64, resolve: always }]';

  it('gets the manifest for that, whatever its User-Agent says', async () => {
    const app = await startTestApp({ hub: await filledHub(), yaml: armV7 });
    for (const headers of [IMAGES_ONLY, agent('linux/amd64')]) {
      expect(digestOfAnswer(await app.get(TAG, { headers }))).toBe(golang('linux/arm/v7'));
    }
  });

  it('gets what it names by ?platform= all the same', async () => {
    const app = await startTestApp({ hub: await filledHub(), yaml: armV7 });
    const answer = await app.get(`${TAG}?platform=linux/amd64`, { headers: IMAGES_ONLY });
    expect(digestOfAnswer(answer)).toBe(golang('linux/amd64'));
  });

  it('gets the list if it takes lists, unless lists are always resolved there', async () => {
    const hub = await filledHub();
    const negotiating = await startTestApp({ hub, yaml: armV7 });
    expect(digestOfAnswer(await negotiating.get(TAG, { headers: EVERYTHING }))).toBe(
      GOLANG.image.root.digest,
    );
    const resolving = await startTestApp({ hub, yaml: always });
    for (const headers of [EVERYTHING, IMAGES_ONLY, []]) {
      for (const answer of [await resolving.get(TAG, { headers }), await resolving.head(TAG, { headers })]) {
        expect(digestOfAnswer(answer)).toBe(golang('linux/arm64/v8'));
        expect(answer.header('content-type')).toBe(OCI_MANIFEST);
      }
    }
  });

  it('gets the list by its digest even where lists are always resolved', async () => {
    const app = await startTestApp({ hub: await filledHub(), yaml: always });
    const answer = await app.get(`/v2/library/golang/manifests/${GOLANG.image.root.digest}`);
    expect(answer.body.equals(GOLANG.image.root.bytes)).toBe(true);
    expect(answer.header('vary')).toBeUndefined();
  });

  it('gets answers of which caches on the way learn that they hold for nobody else', async () => {
    const app = await startTestApp({ hub: await filledHub(), yaml: armV7 });
    expect((await app.get(TAG)).header('vary')).toBe('*');
    const plain = await startTestApp({ hub: await filledHub() });
    expect((await plain.get(TAG)).header('vary')).toBe('Accept, User-Agent');
    const missing = await plain.get(TAG, { headers: agent('linux/s390x') });
    expect(missing.status).toBe(404);
    expect(missing.header('vary')).toBe('Accept, User-Agent');
  });

  it('outside of that network is like any other', async () => {
    const yaml = 'clients: [{ network: 192.0.2.0/24, platform: linux/arm/v7, resolve: always }]';
    const app = await startTestApp({ hub: await filledHub(), yaml });
    expect(digestOfAnswer(await app.get(TAG, { headers: IMAGES_ONLY }))).toBe(golang('linux/amd64'));
  });
});

describe('a list of one type', () => {
  it.each<[MediaTypes, string, string]>([
    ['oci', OCI_MANIFEST, DOCKER_LIST],
    ['docker', DOCKER_MANIFEST, OCI_INDEX],
  ])('(%s) gives its manifest to a client that takes %s and %s', async (mediaTypes, own, otherList) => {
    const list = multiPlatform({ mediaTypes });
    const { app } = await appWith(list);
    const taken: Headers = [
      ['Accept', otherList],
      ['Accept', `${own};q=0.1`],
    ];
    const wanted = list.images.get('linux/amd64')?.root;
    const answer = await app.get(APP, { headers: taken });
    expect(answer.header('content-type')).toBe(own);
    expect(wanted !== undefined && answer.body.equals(wanted.bytes)).toBe(true);
    const other = own === OCI_MANIFEST ? DOCKER_MANIFEST : OCI_MANIFEST;
    const refused = await app.get(APP, { headers: [['Accept', other]] });
    expect(refused.status).toBe(404);
    expect(errorMessage(refused)).toContain(`for linux/amd64 is of type ${own}`);
  });

  it('may hold manifests of the other, which go out as what they are', async () => {
    const docker = image({ mediaTypes: 'docker' });
    const { app } = await appWith(listOf([entryOf(docker)], [docker], OCI_INDEX));
    const answer = await app.get(APP, { headers: [['Accept', DOCKER_MANIFEST]] });
    expect(answer.header('content-type')).toBe(DOCKER_MANIFEST);
    expect(answer.body.equals(docker.root.bytes)).toBe(true);
  });

  it('that is wrong about the type of a manifest does not make it go out to who does not take it', async () => {
    const docker = image({ mediaTypes: 'docker' });
    const entry = { ...entryOf(docker), mediaType: OCI_MANIFEST };
    const { app } = await appWith(listOf([entry], [docker]));
    const answer = await app.get(APP, { headers: [['Accept', OCI_MANIFEST]] });
    expect(answer.status).toBe(404);
    expect(errorMessage(answer)).toContain(DOCKER_MANIFEST);
  });
});

describe('a manifest that is chosen from a list', () => {
  it('has the same headers by HEAD and by GET, before and after it is cached', async () => {
    const { app } = await appWith(multiPlatform());
    const headers = agent('linux/arm64');
    const before = await app.head(APP, { headers });
    const got = await app.get(APP, { headers });
    const after = await app.head(APP, { headers });
    const shown = (answer: RawResponse) =>
      ['content-type', 'content-length', 'docker-content-digest', 'etag', 'vary'].map((name) =>
        answer.header(name),
      );
    expect(shown(before)).toEqual(shown(got));
    expect(shown(after)).toEqual(shown(got));
    expect(got.header('content-length')).toBe(String(got.body.length));
  });

  it('has its true length once it is cached, whatever the list says', async () => {
    const amd64 = image();
    const { app } = await appWith(listOf([{ ...entryOf(amd64), size: 7 }], [amd64]));
    const got = await app.get(APP, { headers: IMAGES_ONLY });
    expect(got.body.equals(amd64.root.bytes)).toBe(true);
    const head = await app.head(APP, { headers: IMAGES_ONLY });
    expect(head.header('content-length')).toBe(String(amd64.root.bytes.length));
  });

  it('is found in a list inside the list, and in the second one if the first has none', async () => {
    const [amd64, arm64, arm] = [LINUX_AMD64, LINUX_ARM64, LINUX_ARM_V7].map((platform) =>
      image({ platform }),
    );
    if (amd64 === undefined || arm64 === undefined || arm === undefined) throw new Error('three images');
    const first = listOf([entryOf(arm)], [arm]);
    const second = listOf([entryOf(arm64), entryOf(amd64)], [arm64, amd64], DOCKER_LIST);
    const root = listOf(
      [first, second].map(({ root: nested }) => manifestDescriptor(nested)),
      [first, second],
    );
    const { app } = await appWith(root);
    const answer = await app.get(APP, { headers: agent('linux/amd64') });
    expect(digestOfAnswer(answer)).toBe(amd64.root.digest);
    const missing = await app.get(APP, { headers: agent('linux/s390x') });
    expect(errorMessage(missing)).toBe(
      'no manifest for linux/s390x; there is linux/arm/v7, linux/arm64/v8, linux/amd64',
    );
  });

  it('is the newest Windows that the version runs', async () => {
    const { list, images } = windowsList(['10.0.17763.6775', '10.0.20348.3091', '10.0.26100.2894']);
    const { app } = await appWith(list);
    const gets = async (platform: string) => digestOfAnswer(await app.get(`${APP}?platform=${platform}`));
    const of = (version: string) => images.get(version)?.root.digest;
    expect(await gets('windows(10.0.17763)/amd64')).toBe(of('10.0.17763.6775'));
    expect(await gets('windows(10.0.20348)/amd64')).toBe(of('10.0.20348.3091'));
    expect(await gets('windows(10.0.25398)/amd64')).toBe(of('10.0.20348.3091'));
    expect(await gets('windows(10.0.26100)/amd64')).toBe(of('10.0.26100.2894'));
    expect(await gets('windows/amd64')).toBe(of('10.0.17763.6775'));
    const older = await app.get(`${APP}?platform=windows(10.0.14393)/amd64`);
    expect(older.status).toBe(404);
    expect(errorMessage(older)).toContain('windows(10.0.26100.2894)/amd64');
  });

  it('is the best variant, and the 32-bit one where there is no other', async () => {
    const i386 = image({ platform: { os: 'linux', architecture: '386' } });
    const v2 = image({ platform: { ...LINUX_AMD64, variant: 'v2' } });
    const { app } = await appWith(listOf([entryOf(i386), entryOf(v2)], [i386, v2]));
    const gets = async (platform: string) => digestOfAnswer(await app.get(`${APP}?platform=${platform}`));
    expect(await gets('linux/amd64')).toBe(i386.root.digest);
    expect(await gets('linux/amd64/v3')).toBe(v2.root.digest);
  });
});

describe('a list that nobody should make', () => {
  it('with duplicates, attestations, unknown types and entries without platform gives the first that fits', async () => {
    const amd64 = image();
    const other = image({ message: 'second' });
    const entries = [
      { ...absentEntry('wasm', LINUX_AMD64), mediaType: 'application/vnd.wasm.config.v0+json' },
      {
        ...absentEntry('attestation', LINUX_AMD64),
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
      },
      absentEntry('bare'),
      absentEntry('unknown', { os: 'unknown', architecture: 'unknown' }),
      absentEntry('numbers', { os: 1, architecture: ['amd64'] }),
      entryOf(amd64),
      entryOf(other),
    ];
    const { app, hub } = await appWith(listOf(entries, [amd64, other]));
    const answer = await app.get(APP, { headers: IMAGES_ONLY });
    expect(digestOfAnswer(answer)).toBe(amd64.root.digest);
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBe(2);
  });

  it('without entries, or with attestations only, is a 404 that says so', async () => {
    const { app } = await appWith(listOf([], []));
    const answer = await app.get(APP, { headers: IMAGES_ONLY });
    expect(answer.status).toBe(404);
    expect(errorMessage(answer)).toBe('no manifest for linux/amd64; there is none that states its platform');
    expect((await app.get(APP, { headers: EVERYTHING })).status).toBe(200);
  });

  it('of 10,000 platforms names some of them, in printable characters', async () => {
    const entries = Array.from({ length: 10_000 }, (_, n) =>
      absentEntry(`${n}`, { os: 'linux', architecture: `cpu${n}\n"`, variant: 'v'.repeat(90) }),
    );
    const { app } = await appWith(listOf(entries, []));
    const answer = await app.get(APP, { headers: IMAGES_ONLY });
    expect(answer.status).toBe(404);
    expect(answer.body.length).toBeLessThan(5000);
    expect(errorMessage(answer)).toMatch(/linux\/cpu0\?"\/v+, .* and 9960 more$/);
  });

  it('of lists of lists without end is given up after a few, which is all that it costs', async () => {
    const bottom = image();
    let content = listOf([entryOf(bottom)], [bottom]);
    for (let depth = 0; depth < 20; depth++) {
      const wide = Array.from({ length: 20 }, (_, n) =>
        listOf([absentEntry(`${depth}/${n}`, LINUX_ARM64)], []),
      );
      content = listOf(
        [...wide, content].map(({ root }) => manifestDescriptor(root)),
        [...wide, content],
      );
    }
    const { app, hub } = await appWith(content);
    const answer = await app.get(APP, { headers: IMAGES_ONLY });
    expect(answer.status).toBe(404);
    expect(errorMessage(answer)).toContain('there is linux/arm64/v8');
    expect(served(hub, { kind: 'manifest', method: 'GET' })).toBeLessThanOrEqual(9);
  });

  it('that gives one manifest for several platforms, and several for one, gives the first that fits each', async () => {
    const [one, other] = [image(), image({ message: 'other' })];
    const descriptor = manifestDescriptor(one.root);
    const entries = [
      { ...descriptor, platform: LINUX_ARM64 },
      { ...descriptor, platform: LINUX_AMD64 },
      { ...manifestDescriptor(other.root), platform: { os: 'Linux', architecture: 'x86_64' } },
      { ...manifestDescriptor(other.root), platform: { os: 'linux', architecture: 'arm64', variant: 8 } },
    ];
    const { app } = await appWith(listOf(entries, [one, other]));
    for (const platform of ['linux/amd64', 'linux/arm64']) {
      const answer = await app.get(APP, { headers: agent(platform) });
      expect(digestOfAnswer(answer)).toBe(one.root.digest);
    }
  });

  it.each(['{"schemaVersion":2,', '[]', 'null', '"list"', '{"schemaVersion":2,"manifests":{}}', ''])(
    'and is %j is an error that says so, and nothing of it is kept',
    async (text) => {
      const bytes = Buffer.from(text);
      const root = { digest: digestOf(bytes), mediaType: OCI_INDEX, bytes };
      const { app, hub } = await appWith({ root, manifests: [root], blobs: [] });
      for (const target of [APP, `/v2/library/app/manifests/${root.digest}`]) {
        const answer = await app.get(target, { headers: EVERYTHING });
        // Its bytes are what its digest names: asked for again, it will be the same.
        expect(answer.status).toBe(404);
        expect(errorMessage(answer)).toMatch(
          /not a manifest|manifests of the manifest is not a list|does not exist/,
        );
      }
      await hub.stop();
      expect((await app.get(APP, { headers: EVERYTHING })).status).toBe(503);
    },
  );

  it('with an entry that is none is an error that says what is wrong', async () => {
    const { app } = await appWith(listOf([{ ...absentEntry('x'), size: -1 }], []));
    const answer = await app.get(APP, { headers: EVERYTHING });
    expect(answer.status).toBe(404);
    expect(errorMessage(answer)).toContain('has a malformed size');
  });

  it('of more than 4 MiB is an error that says so', async () => {
    const entries = Array.from({ length: 26_000 }, (_, n) => absentEntry(`${n}`, LINUX_AMD64));
    const list = listOf(entries, []);
    expect(list.root.bytes.length).toBeGreaterThan(5 * 1024 * 1024);
    const { app } = await appWith(list);
    const answer = await app.get(APP, { headers: EVERYTHING });
    expect(answer.status).toBe(503);
    expect(errorMessage(answer)).toMatch(/4 MiB|4194304|too (large|long|big)/);
  });
});

describe('Docker schema 1', () => {
  it('is refused with a message that says what to do', async () => {
    const root = schema1();
    const { app } = await appWith({ root, manifests: [root], blobs: [] });
    for (const target of [APP, `/v2/library/app/manifests/${root.digest}`]) {
      expect((await app.head(target)).status).toBe(404);
      const answer = await app.get(target);
      expect(answer.status).toBe(404);
      expect(errorMessage(answer)).toContain('Docker schema 1 manifests are no longer supported');
      expect((await app.head(target)).status).toBe(404);
    }
  });

  it('is not what a client gets that takes nothing else', async () => {
    const app = await startTestApp({ hub: await filledHub() });
    const headers: Headers = [['Accept', 'application/vnd.docker.distribution.manifest.v1+prettyjws']];
    const answer = await app.get(TAG, { headers });
    expect(answer.status).toBe(404);
    expect(errorMessage(answer)).toContain('schema 1');
  });
});

describe('?platform=', () => {
  it.each(['windows(10.0.20348+win32k)/amd64', 'windows(10.0.20348%2Bwin32k)/amd64', 'windows%2Famd64'])(
    'takes features and versions of the system as they are written: %s',
    async (text) => {
      const { list, images } = windowsList(['10.0.20348.3091']);
      const { app } = await appWith(list);
      const answer = await app.get(`${APP}?platform=${text}`);
      expect(digestOfAnswer(answer)).toBe(images.get('10.0.20348.3091')?.root.digest);
    },
  );

  it.each(['', 'arm64', 'linux/', 'linux/arm64/v8/x', 'li nux/arm64', 'windows(%zz)/amd64', 'a'.repeat(300)])(
    'of %j is a 400 that says what is allowed, by GET and HEAD',
    async (text) => {
      const app = await startTestApp({ hub: await filledHub() });
      const target = `${TAG}?platform=${encodeURIComponent(text)}`;
      const answer = await app.get(target);
      expect(answer.status).toBe(400);
      expect(errorMessage(answer)).toContain('allowed: os/architecture or os/architecture/variant');
      expect((await app.head(target)).status).toBe(400);
    },
  );
});
