import { describe, expect, test } from 'vitest';
import { createOfflineUpstream } from '../../../src/upstream/sources/offline.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { GOLANG } from '../../support/filled-hub.ts';
import { ANYBODY, causeOf, hubAndUpstream, valueOf } from '../../support/upstream-client.ts';

const { repository } = GOLANG;
const TAGS = { kind: 'tags' } as const;

describe('the tags of a repository', () => {
  test('are listed', async () => {
    const { upstream } = await hubAndUpstream();
    expect(valueOf(await upstream.listTags(repository, {}, ANYBODY))).toEqual({ tags: ['1.22', 'latest'] });
  });

  test('are listed page by page', async () => {
    const { hub, upstream } = await hubAndUpstream();
    const first = valueOf(await upstream.listTags(repository, { n: '1' }, ANYBODY));
    expect(first).toEqual({ tags: ['1.22'], next: { n: '1', last: '1.22' } });
    const second = valueOf(await upstream.listTags(repository, first.next ?? {}, ANYBODY));
    expect(second).toEqual({ tags: ['latest'] });
    expect(Object.fromEntries(hub.requests.at(-1)?.query ?? [])).toEqual({ n: '1', last: '1.22' });
  });

  test('are none where the registry says null', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: TAGS, do: { status: { code: 200, body: `{"name":"${repository}","tags":null}` } } });
    expect(valueOf(await upstream.listTags(repository, {}, ANYBODY))).toEqual({ tags: [] });
  });

  test.each([
    '',
    'null',
    '[]',
    '"latest"',
    '{}',
    '{"name":"x","tags":"latest"}',
    '{"name":"x","tags":[1]}',
    '{',
  ])('are not %j', async (body) => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: TAGS, do: { status: { code: 200, body } } });
    expect(causeOf(await upstream.listTags(repository, {}, ANYBODY))).toBe(
      `not-a-registry: ${hub.host} did not answer with a list of tags`,
    );
  });

  test('are not more than 16 MiB', async () => {
    const { hub, upstream } = await hubAndUpstream();
    hub.fault({ match: TAGS, do: { hugeBody: 64 * 1024 * 1024 } });
    expect(causeOf(await upstream.listTags(repository, {}, ANYBODY))).toMatch(
      / sent more than 16777216 bytes/,
    );
  });

  test('of a repository that does not exist, or is not for us, are refused', async () => {
    const { upstream } = await hubAndUpstream();
    for (const name of ['library/nothing', 'carol/private']) {
      expect(await upstream.listTags(name, {}, ANYBODY)).toEqual({ kind: 'refused', status: 401 });
    }
  });
});

test('an upstream that is offline by the settings answers so to everything', async () => {
  const upstream = createOfflineUpstream({ host: 'docker.io', hasCredentials: true });
  const latest = { kind: 'tag', tag: 'latest' } as const;
  const digest = digestOf(Buffer.from('x'));
  const outcomes = [
    await upstream.headManifest(repository, latest, ANYBODY),
    await upstream.getManifest(repository, latest, ANYBODY),
    await upstream.headBlob(repository, digest, ANYBODY),
    await upstream.getBlob(repository, digest, { ...ANYBODY, offset: 0 }),
    await upstream.listTags(repository, {}, ANYBODY),
  ];
  for (const outcome of outcomes) {
    expect(causeOf(outcome)).toBe(
      'offline: docker.io is not asked, because this server is offline (setting offline)',
    );
  }
  expect([upstream.host, upstream.hasCredentials]).toEqual(['docker.io', true]);
  await upstream.close();
});
