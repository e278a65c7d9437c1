import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deferred } from '../../src/lib/promises.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import { openIndex, type Index } from '../../src/store/manifest/lmdb.ts';
import { createMemoryStore, LocalStore } from '../../src/store/manifest/local.ts';
import { TieredStore } from '../../src/store/manifest/tiers.ts';
import type { ManifestStore } from '../../src/store/manifests.ts';
import { RedisConnection } from '../../src/store/redis/connection.ts';
import { createRedisStore, type SharedStore } from '../../src/store/redis/manifests.ts';
import { startRedis } from '../support/redis.ts';
import { testFolder } from '../support/temp.ts';
import { tellTo } from '../support/told.ts';
import { eventually } from '../support/wait.ts';
import { GOLANG, manifest, manifestStoreContract, OTHER, record } from './manifests.contract.ts';

function closing<T extends ManifestStore>(store: T): T {
  onTestFinished(() => store.close());
  return store;
}

const memory = () => createMemoryStore({ maxManifestBytes: 1_000_000 });
const index = async (): Promise<Index> => openIndex(join(await testFolder(), 'index'));
const local = async (): Promise<LocalStore> => localOn(await index());
const localOn = (embedded: Index): LocalStore =>
  new LocalStore({
    index: embedded,
    maxManifestBytes: 1_000_000,
    probe: () => embedded.probe(),
    tell: tellTo({ indexFailed: ({ error }) => expect.unreachable(String(error)) }),
  });
const SECRET = 'the secret of a fleet';
interface RedisOptions {
  readonly onFailure?: (failure: string) => void;
  readonly secret?: string | undefined;
  readonly now?: () => number;
}
const redis = async (url: string, options: RedisOptions = {}): Promise<SharedStore> => {
  const { onFailure = () => undefined, secret, now } = { secret: SECRET, ...options };
  const tell = tellTo({ redisFailed: ({ kind }) => onFailure(kind) });
  const connection = new RedisConnection({ url, callTimeoutMs: 2000, tell });
  onTestFinished(() => connection.close());
  await eventually(() => connection.state === 'up', 'the connection to Redis');
  return createRedisStore({ connection, secret, tell, ...(now === undefined ? {} : { now }) });
};
const tiered = async (url: string, options: RedisOptions = {}) => {
  const shared = await redis(url, options);
  const store = new TieredStore({ local: await local(), shared });
  store.start();
  return closing(store);
};

manifestStoreContract('memory', async () => closing(memory()));
manifestStoreContract('LMDB', async () => closing(await index()));
manifestStoreContract('Redis', async () => redis((await startRedis()).url));
manifestStoreContract('memory before LMDB', async () => closing(await local()));
manifestStoreContract('tiers without Redis', async () => closing(new TieredStore({ local: await local() })));
manifestStoreContract('all tiers', async () => tiered((await startRedis()).url));

describe('a store of one server', () => {
  it.each([
    ['memory', async () => memory()],
    ['LMDB', index],
    ['tiers', async () => new TieredStore({ local: await local() })],
  ])('(%s) keeps that a repository is restricted', async (_name, open) => {
    const store: ManifestStore = closing(await open());
    await store.putRepository(GOLANG, { restricted: true });
    expect(await store.getRepository(GOLANG)).toEqual({ restricted: true });
  });
});

describe('Tiers', () => {
  it('have nobody wait for the disk to learn that a check has failed', async () => {
    const embedded = closing(await index());
    await embedded.putTag(GOLANG, 'latest', record('a', 10));
    const disk = deferred<void>();
    const put = embedded.putTag.bind(embedded);
    embedded.putTag = (...args) => disk.promise.then(() => put(...args));
    const tiers = new TieredStore({ local: localOn(embedded) });
    const failed = record('a', 20, { confirmedAt: 10, failure: 'why' });
    await tiers.putTag(GOLANG, 'latest', failed);
    expect(await tiers.getTag(GOLANG, 'latest')).toEqual(failed);
    expect(await tiers.getTag(GOLANG, 'latest', 30)).toEqual(failed);
    disk.resolve();
    await eventually(async () => embedded.getTag(GOLANG, 'latest')?.checkedAt === 20, 'the disk');
  });
});

describe('LMDB', () => {
  it('gives no manifest that has rotted: it is a miss, and replaced', async () => {
    const store = closing(await index());
    const { descriptor } = manifest('a');
    const { digest } = descriptor;
    await store.putManifest({ descriptor, bytes: Buffer.from('{"schemaVersion":2}') });
    expect(store.getManifest(digest)).toBeUndefined();
    await store.putManifest(manifest('a'));
    expect(store.getManifest(digest)).toEqual(manifest('a'));
  });

  it('keeps everything over a restart, and its totals in step', async () => {
    const path = join(await testFolder(), 'index');
    const first = openIndex(path);
    await first.putManifest(manifest('a'));
    await first.putTag(GOLANG, 'latest', record('a', 1));
    await first.putBlob(manifest('a').descriptor.digest, { size: 10 });
    await first.putBlob(manifest('a').descriptor.digest, { size: 12 });
    await first.putBlob(manifest('b').descriptor.digest, { size: 5 });
    await first.deleteBlob(manifest('b').descriptor.digest);
    await first.deleteBlob(manifest('b').descriptor.digest);
    await first.close();
    const second = closing(openIndex(path));
    expect(second.getManifest(manifest('a').descriptor.digest)).toEqual(manifest('a'));
    expect(second.getTag(GOLANG, 'latest')).toEqual(record('a', 1));
    expect(second.getBlob(manifest('a').descriptor.digest)).toEqual({ size: 12 });
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
    const store = await redis(server.url, { onFailure: (kind) => errors.push(kind) });
    await store.putManifest(manifest('a'));
    server.pause();
    expect(await store.getManifest(manifest('a').descriptor.digest)).toBeUndefined();
    await store.putTag(GOLANG, 'latest', record('a', 1));
    expect(errors).toContain('timeout');
    server.resume();
    await eventually(
      async () => (await store.getManifest(manifest('a').descriptor.digest)) !== undefined,
      'Redis to be used again',
    );
  });

  it('that is gone is a miss', async () => {
    const server = await startRedis();
    const store = await tiered(server.url);
    await store.putManifest(manifest('a'));
    await server.stop();
    expect(await store.getManifest(manifest('b').descriptor.digest)).toBeUndefined();
    expect(await store.getManifest(manifest('a').descriptor.digest)).toEqual(manifest('a'));
    await store.putTag(GOLANG, 'latest', record('a', 1));
    expect(await store.getTag(GOLANG, 'latest')).toEqual(record('a', 1));
  });

  it('with other bytes under a digest is a miss, and the bytes are thrown away', async () => {
    const server = await startRedis();
    const errors: string[] = [];
    const store = await redis(server.url, { onFailure: (kind) => errors.push(kind) });
    const key = `pierhead:v1:manifest:${manifest('a').descriptor.digest}`;
    await server.client.set(key, 'application/x\0something else');
    expect(await store.getManifest(manifest('a').descriptor.digest)).toBeUndefined();
    expect(errors).toEqual(['tampered']);
    expect(await server.client.exists(key)).toBe(0);
  });

  it('with a manifest that is too long to be one is a miss, whatever its digest, and it is thrown away', async () => {
    const server = await startRedis();
    const errors: string[] = [];
    const store = await redis(server.url, { onFailure: (kind) => errors.push(kind) });
    const { descriptor, bytes } = manifest('a');
    const long = Buffer.concat([bytes, Buffer.alloc(MAX_MANIFEST_BYTES + 1 - bytes.length, ' ')]);
    const key = `pierhead:v1:manifest:${digestOf(long)}`;
    await server.client.set(key, Buffer.concat([Buffer.from(`${descriptor.mediaType}\0`), long]));
    expect(await store.getManifest(digestOf(long))).toBeUndefined();
    expect(errors).toEqual(['tampered']);
    expect(await server.client.exists(key)).toBe(0);
  });

  it('with values of another program under our keys is a miss', async () => {
    const server = await startRedis();
    const store = await redis(server.url);
    await server.client.hset('pierhead:v1:tag:docker.io/library/golang:latest', 'a', 'b');
    await server.client.set('pierhead:v1:public:docker.io/library/golang', '[]');
    expect(await store.getTag(GOLANG, 'latest')).toBeUndefined();
    expect(await store.getRepository(GOLANG)).toBeUndefined();
  });

  it('that was flushed is survived by the embedded store', async () => {
    const server = await startRedis();
    const store = await tiered(server.url);
    await store.putManifest(manifest('a'));
    await server.client.flushall();
    expect(await store.getManifest(manifest('a').descriptor.digest)).toEqual(manifest('a'));
  });
});

describe('What Redis says of who may see what', () => {
  const { digest } = manifest('a').descriptor;
  const link = { by: 'manifest', size: 5 } as const;
  const PUBLIC = 'pierhead:v1:public:docker.io/library/golang';
  const LINK = `pierhead:v1:link:public:docker.io/library/golang@${digest}`;
  const OFFER = `pierhead:v1:offer:docker.io/library/golang@${digest}`;
  const DAY_MS = 24 * 60 * 60 * 1000;

  /** Puts both kinds of claims, as a server with the secret does. */
  async function claims(url: string, options: RedisOptions = {}): Promise<number> {
    const store = await redis(url, options);
    const publicAt = (options.now ?? Date.now)();
    await store.putRepository(GOLANG, { publicAt });
    await store.putLinks(GOLANG, new Map([[digest, link]]));
    return publicAt;
  }

  const told = async (store: ManifestStore, repository = GOLANG) => [
    await store.getRepository(repository),
    await store.getLink(repository, digest),
  ];
  const NOTHING = [undefined, undefined];

  it('is believed by servers with the same secret', async () => {
    const { url } = await startRedis();
    const publicAt = await claims(url);
    expect(await told(await redis(url))).toEqual([{ publicAt }, link]);
  });

  it('is neither written nor read without a secret', async () => {
    const { url, client } = await startRedis();
    await claims(url, { secret: undefined });
    expect(await client.dbsize()).toBe(0);
    await claims(url);
    expect(await told(await redis(url, { secret: undefined }))).toEqual(NOTHING);
  });

  it('is not believed under another secret, and makes room for what is', async () => {
    const { url } = await startRedis();
    await claims(url, { secret: 'the secret of before' });
    const errors: string[] = [];
    const store = await redis(url, { onFailure: (kind) => errors.push(kind) });
    expect(await told(store)).toEqual(NOTHING);
    expect(errors).toEqual(['unsigned', 'unsigned']);
    await store.putLinks(GOLANG, new Map([[digest, { by: 'upstream' }]]));
    expect(await store.getLink(GOLANG, digest)).toEqual({ by: 'upstream' });
  });

  it.each([
    ['JSON of a record', () => JSON.stringify({ publicAt: Date.now(), at: Date.now(), by: 'upstream' })],
    ['nothing', () => ''],
    ['as many characters as an HMAC has', () => 'A'.repeat(43)],
    ['what is no ASCII', () => 'é'.repeat(43) + JSON.stringify({ at: Date.now(), by: 'upstream' })],
  ])('is not believed if it is %s', async (_what, text) => {
    const { url, client } = await startRedis();
    const store = await redis(url);
    for (const key of [PUBLIC, LINK]) await client.set(key, text());
    expect(await told(store)).toEqual(NOTHING);
  });

  it('is not believed once a byte of it is another', async () => {
    const { url, client } = await startRedis();
    await claims(url);
    const store = await redis(url);
    const sealed = Buffer.from((await client.get(LINK)) ?? '');
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await client.set(LINK, changed);
      expect(await store.getLink(GOLANG, digest), `byte ${at}`).toBeUndefined();
    }
  });

  it('is not believed of another repository, of another digest, or as another kind', async () => {
    const { url, client } = await startRedis();
    await claims(url);
    const store = await redis(url);
    const [isPublic, isLinked] = [(await client.get(PUBLIC)) ?? '', (await client.get(LINK)) ?? ''];
    await client.set('pierhead:v1:public:docker.io/library/golang-other', isPublic);
    await client.set(`pierhead:v1:link:public:docker.io/library/golang-other@${digest}`, isLinked);
    const other = manifest('b').descriptor.digest;
    await client.set(`pierhead:v1:link:public:docker.io/library/golang@${other}`, isLinked);
    expect(await told(store, OTHER)).toEqual(NOTHING);
    expect(await store.getLink(GOLANG, other)).toBeUndefined();
    await client.set(PUBLIC, isLinked);
    await client.set(LINK, isPublic);
    expect(await told(store)).toEqual(NOTHING);
    await store.putOffers(GOLANG, [digest]);
    await client.set(LINK, (await client.get(OFFER)) ?? '');
    expect(await told(store)).toEqual(NOTHING);
    await client.set(OFFER, isLinked);
    expect(await store.isOffered(GOLANG, digest)).toBe(false);
  });

  it('ages, so that what is put back counts for no longer than it would have', async () => {
    const { url, client } = await startRedis();
    let now = Date.now();
    await claims(url, { now: () => now });
    const [isPublic, isLinked] = [(await client.get(PUBLIC)) ?? '', (await client.get(LINK)) ?? ''];
    const store = await redis(url, { now: () => now });
    const toldAfter = async (days: number) => {
      await client.set(PUBLIC, isPublic);
      await client.set(LINK, isLinked);
      now += days * DAY_MS;
      return told(store);
    };
    expect(await toldAfter(0.9)).toEqual([expect.anything(), link]);
    expect(await toldAfter(0.2)).toEqual([undefined, link]);
    expect(await toldAfter(29)).toEqual(NOTHING);
  });

  it('is not believed if it comes from the future', async () => {
    const { url } = await startRedis();
    await claims(url, { now: () => Date.now() + DAY_MS });
    expect(await told(await redis(url))).toEqual(NOTHING);
  });

  it('is taken back by a server that finds the repository not to be public any more', async () => {
    const { url } = await startRedis();
    await claims(url);
    await (await redis(url)).putRepository(GOLANG, { restricted: true });
    expect(await (await redis(url)).getRepository(GOLANG)).toBeUndefined();
  });

  it('does not show a server without credentials what others fetched with theirs', async () => {
    const { url } = await startRedis();
    const [one, two, stranger] = [await tiered(url), await tiered(url), await tiered(url)];
    for (const store of [one, two]) await store.putRepository(GOLANG, { restricted: true });
    await one.putLinks(GOLANG, new Map([[digest, link]]));
    await eventually(async () => (await two.getLink(GOLANG, digest)) !== undefined, 'the link at the other');
    expect(await stranger.getLink(GOLANG, digest)).toBeUndefined();
  });

  it('is what a move of a tag needs: one to what the repository is not known to hold is not followed', async () => {
    const { url } = await startRedis();
    const [one, two] = [await tiered(url), await tiered(url)];
    await two.putManifest(manifest('a'));
    await two.putTag(GOLANG, 'latest', record('a', 1));
    await one.putManifest(manifest('b'));
    await one.putTag(GOLANG, 'latest', record('b', 2));
    const { digest: moved } = manifest('b').descriptor;
    await eventually(async () => (await two.getManifest(moved)) !== undefined, 'the manifest at the other');
    expect(await two.getTag(GOLANG, 'latest', 1)).toEqual(record('a', 1));
    await one.putLinks(GOLANG, new Map([[moved, { by: 'upstream' }]]));
    await eventually(async () => (await two.getTag(GOLANG, 'latest', 1))?.checkedAt === 2, 'the move');
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
      async () => (await two.getManifest(manifest('a').descriptor.digest)) !== undefined,
      'the manifest at the other',
    );
    await eventually(async () => (await two.getTag(GOLANG, 'latest')) !== undefined, 'the tag at the other');
    await one.putManifest(manifest('b'));
    await one.putLinks(GOLANG, new Map([[manifest('b').descriptor.digest, { by: 'upstream' }]]));
    await one.putTag(GOLANG, 'latest', record('b', 2));
    const moved = await eventually(async () => {
      const known = await two.getTag(GOLANG, 'latest');
      return known?.checkedAt === 2 && known;
    }, 'the move at the other');
    expect(moved).toEqual(record('b', 2));
  });
});
