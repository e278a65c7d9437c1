import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { multiPlatform } from '../../fixtures/images.ts';
import { pushImage } from '../../fixtures/push.ts';
import { startDockerRegistry, type DockerRegistry } from '../../support/docker-registry.ts';
import { ANYBODY, causeOf, readBody, valueOf, watchedUpstream } from '../../support/upstream-client.ts';

const REPOSITORY = 'library/golang';
const IMAGE = multiPlatform();
const LATEST = { kind: 'tag', tag: 'latest' } as const;

describe("Debian's docker-registry", () => {
  let registry: DockerRegistry;

  beforeAll(async () => {
    registry = await startDockerRegistry();
    for (const tag of ['latest', '1.22']) {
      await pushImage({ baseUrl: registry.url, repository: REPOSITORY, tag }, IMAGE);
    }
  });

  afterAll(() => registry.close());

  test('tells of a manifest and sends it', async () => {
    const { upstream } = watchedUpstream(registry.url);
    const { digest, mediaType, bytes } = IMAGE.root;
    const head = valueOf(await upstream.headManifest(REPOSITORY, LATEST, ANYBODY));
    expect(head).toEqual({ digest, mediaType, size: bytes.length });
    expect(valueOf(await upstream.getManifest(REPOSITORY, LATEST, ANYBODY))).toEqual(IMAGE.root);
    const byDigest = await upstream.getManifest(REPOSITORY, { kind: 'digest', digest }, ANYBODY);
    expect(valueOf(byDigest)).toEqual(IMAGE.root);
  });

  test('tells the size of every blob and sends it, from any offset on', async () => {
    const { upstream } = watchedUpstream(registry.url);
    for (const blob of IMAGE.blobs) {
      expect(valueOf(await upstream.headBlob(REPOSITORY, blob.digest, ANYBODY))).toEqual({ size: blob.size });
      const whole = valueOf(await upstream.getBlob(REPOSITORY, blob.digest, { ...ANYBODY, offset: 0 }));
      const { bytes } = await readBody(whole);
      expect(digestOf(bytes)).toBe(blob.digest);
      const rest = valueOf(await upstream.getBlob(REPOSITORY, blob.digest, { ...ANYBODY, offset: 10 }));
      expect(rest).toMatchObject({ offset: 10, totalSize: blob.size });
      expect((await readBody(rest)).bytes.equals(bytes.subarray(10))).toBe(true);
    }
  });

  test('lists tags page by page', async () => {
    const { upstream } = watchedUpstream(registry.url);
    const all = valueOf(await upstream.listTags(REPOSITORY, {}, ANYBODY));
    expect([...all.tags].sort()).toEqual(['1.22', 'latest']);
  });

  test('does not know what was never pushed', async () => {
    const { upstream } = watchedUpstream(registry.url);
    const digest = digestOf(Buffer.from('hello world'));
    const absent = { kind: 'not-found', noStore: false };
    expect(await upstream.headManifest(REPOSITORY, { kind: 'tag', tag: 'nothing' }, ANYBODY)).toEqual(absent);
    expect(await upstream.getManifest(REPOSITORY, { kind: 'digest', digest }, ANYBODY)).toEqual(absent);
    expect(await upstream.headBlob(REPOSITORY, digest, ANYBODY)).toEqual(absent);
    expect(await upstream.getBlob(REPOSITORY, digest, { ...ANYBODY, offset: 0 })).toEqual(absent);
    expect(await upstream.listTags('library/nothing', {}, ANYBODY)).toEqual(absent);
  });

  test('has no more of a blob than there is', async () => {
    const { upstream } = watchedUpstream(registry.url);
    const [blob] = IMAGE.blobs;
    if (blob === undefined) throw new Error('the image has no blobs');
    const beyond = await upstream.getBlob(REPOSITORY, blob.digest, { ...ANYBODY, offset: blob.size + 1 });
    expect(causeOf(beyond)).toMatch(/^not-a-registry: .* answered 416$/);
  });
});
