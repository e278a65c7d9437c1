import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deferred } from '../../src/lib/deferred.ts';
import type { ManifestStore } from '../../src/store/manifest-store.ts';
import { openIndex, type Index } from '../../src/store/manifest/lmdb.ts';
import { createMemoryStore } from '../../src/store/manifest/memory.ts';
import { createRedisStore, type SharedStore } from '../../src/store/manifest/redis.ts';
import { createTieredStore } from '../../src/store/manifest/tiered.ts';
import { RedisConnection } from '../../src/store/redis/connection.ts';
import { startRedis } from '../support/redis.ts';
import { testFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';
import { GOLANG, manifest, manifestStoreContract, record } from './manifest-store.contract.ts';

function closing<T extends ManifestStore>(store: T): T {
  onTestFinished(() => store.close());
  return store;
}

const memory = () => createMemoryStore({ maxManifestBytes: 1_000_000 });
const index = async (): Promise<Index> => openIndex(join(await testFolder(), 'index'));
const redis = async (
  url: string,
  onFailure: (failure: string) => void = () => undefined,
): Promise<SharedStore> => {
  const connection = new RedisConnection({ url, callTimeoutMs: 2000, onFailure });
  onTestFinished(() => connection.close());
  await eventually(() => connection.state === 'up', 'the connection to Redis');
  return createRedisStore({ connection, onFailure });
};
const tiered = async (url: string) =>
  closing(createTieredStore({ memory: memory(), embedded: await index(), shared: await redis(url) }));

manifestStoreContract('memory', async () => closing(memory()));
manifestStoreContract('LMDB', async () => closing(await index()));
manifestStoreContract('Redis', async () => redis((await startRedis()).url));
manifestStoreContract('tiers without Redis', async () =>
  closing(createTieredStore({ memory: memory(), embedded: await index() })),
);
manifestStoreContract('all tiers', async () => tiered((await startRedis()).url));

describe('Tiers', () => {
  it('have nobody wait for the disk to learn that a check has failed', async () => {
    const embedded = closing(await index());
    await embedded.putTag(GOLANG, 'latest', record('a', 10));
    const disk = deferred<void>();
    const put = embedded.putTag.bind(embedded);
    embedded.putTag = (...args) => disk.promise.then(() => put(...args));
    const tiers = createTieredStore({ memory: memory(), embedded });
    const failed = record('a', 20, { confirmedAt: 10, failure: 'why' });
    await tiers.putTag(GOLANG, 'latest', failed);
    expect(await tiers.getTag(GOLANG, 'latest')).toEqual(failed);
    expect(await tiers.getTag(GOLANG, 'latest', 30)).toEqual(failed);
    disk.resolve();
    await eventually(async () => (await embedded.getTag(GOLANG, 'latest'))?.checkedAt === 20, 'the disk');
  });
});

describe('LMDB', () => {
  it('keeps everything over a restart, and its totals in step', async () => {
    const path = join(await testFolder(), 'index');
    const first = openIndex(path);
    await first.putManifest(manifest('a'));
    await first.putTag(GOLANG, 'latest', record('a', 1));
    await first.putBlob(manifest('a').digest, { size: 10 });
    await first.putBlob(manifest('a').digest, { size: 12 });
    await first.putBlob(manifest('b').digest, { size: 5 });
    await first.deleteBlob(manifest('b').digest);
    await first.deleteBlob(manifest('b').digest);
    await first.close();
    const second = closing(openIndex(path));
    expect(await second.getManifest(manifest('a').digest)).toEqual(manifest('a'));
    expect(await second.getTag(GOLANG, 'latest')).toEqual(record('a', 1));
    expect(second.getBlob(manifest('a').digest)).toEqual({ size: 12 });
    expect(second.blobTotals()).toEqual({ blobs: 1, bytes: 12 });
    expect(second.manifestTotals().manifests).toBe(1);
  });

  it('lists repositories and tags in order, page by page', async () => {
    const store = closing(await index());
    const repository = (name: string) => ({ host: 'docker.io', name });
    for (const name of ['b', 'a/z', 'a', 'a-b']) {
      for (const tag of ['v2', 'v1', 'V1']) await store.putTag(repository(name), tag, record('a', 1));
    }
    const all = ['docker.io/a', 'docker.io/a-b', 'docker.io/a/z', 'docker.io/b'];
    expect(await store.listRepositories({ limit: 10 })).toEqual(all);
    expect(await store.listRepositories({ limit: 2 })).toEqual(all.slice(0, 2));
    expect(await store.listRepositories({ after: 'docker.io/a-b', limit: 10 })).toEqual(all.slice(2));
    expect(await store.listTags(repository('a'))).toEqual(['V1', 'v1', 'v2']);
    expect(await store.listTags(repository('none'))).toEqual([]);
  });
});

describe('Redis', () => {
  it('that is frozen is a miss, never an error, and is used again when it thaws', async () => {
    const server = await startRedis();
    const errors: string[] = [];
    const store = await redis(server.url, (kind) => errors.push(kind));
    await store.putManifest(manifest('a'));
    server.pause();
    expect(await store.getManifest(manifest('a').digest)).toBeUndefined();
    await store.putTag(GOLANG, 'latest', record('a', 1));
    expect(errors).toContain('timeout');
    server.resume();
    await eventually(
      async () => (await store.getManifest(manifest('a').digest)) !== undefined,
      'Redis to be used again',
    );
  });

  it('that is gone is a miss', async () => {
    const server = await startRedis();
    const store = await tiered(server.url);
    await store.putManifest(manifest('a'));
    await server.stop();
    expect(await store.getManifest(manifest('b').digest)).toBeUndefined();
    expect(await store.getManifest(manifest('a').digest)).toEqual(manifest('a'));
    await store.putTag(GOLANG, 'latest', record('a', 1));
    expect(await store.getTag(GOLANG, 'latest')).toEqual(record('a', 1));
  });

  it('with other bytes under a digest is a miss, and the bytes are thrown away', async () => {
    const server = await startRedis();
    const errors: string[] = [];
    const store = await redis(server.url, (kind) => errors.push(kind));
    const key = `pierhead:v1:manifest:${manifest('a').digest}`;
    await server.client.set(key, 'application/x\0something else');
    expect(await store.getManifest(manifest('a').digest)).toBeUndefined();
    expect(errors).toEqual(['tampered']);
    expect(await server.client.exists(key)).toBe(0);
  });

  it('with values of another program under our keys is a miss', async () => {
    const server = await startRedis();
    const store = await redis(server.url);
    await server.client.hset('pierhead:v1:tag:docker.io/library/golang:latest', 'a', 'b');
    await server.client.set('pierhead:v1:repository:docker.io/library/golang', '[]');
    expect(await store.getTag(GOLANG, 'latest')).toBeUndefined();
    expect(await store.getRepository(GOLANG)).toBeUndefined();
  });

  it('that was flushed is survived by the embedded store', async () => {
    const server = await startRedis();
    const store = await tiered(server.url);
    await store.putManifest(manifest('a'));
    await server.client.flushall();
    expect(await store.getManifest(manifest('a').digest)).toEqual(manifest('a'));
  });
});

describe('two nodes on one Redis', () => {
  it('share manifests and tags, and hear of each other that a tag has moved', async () => {
    const { url } = await startRedis();
    const one = await tiered(url);
    const two = await tiered(url);
    await one.putManifest(manifest('a'));
    await one.putTag(GOLANG, 'latest', record('a', 1));
    await eventually(
      async () => (await two.getManifest(manifest('a').digest)) !== undefined,
      'the manifest at the other',
    );
    await eventually(async () => (await two.getTag(GOLANG, 'latest')) !== undefined, 'the tag at the other');
    await one.putManifest(manifest('b'));
    await one.putTag(GOLANG, 'latest', record('b', 2));
    const moved = await eventually(async () => {
      const known = await two.getTag(GOLANG, 'latest');
      return known?.checkedAt === 2 && known;
    }, 'the move at the other');
    expect(moved).toEqual(record('b', 2));
  });
});
