import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { open } from 'lmdb';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Listener } from '../../../src/events/events.ts';
import { digestOf, parseDigest, type Digest } from '../../../src/oci/digest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { Repository } from '../../../src/oci/reference.ts';
import { encodeManifest } from '../../../src/store/codec.ts';
import { takeDataDir } from '../../../src/store/data-dir.ts';
import { IndexWriteError } from '../../../src/store/index/environment.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { blobPath } from '../../../src/store/part/layout.ts';
import { blobFileBytes } from '../../../src/store/space/space.ts';
import { Sweep, type SweepOptions } from '../../../src/store/space/sweep.ts';
import { UsageBuffer } from '../../../src/store/space/usage.ts';
import {
  APP,
  imageManifest,
  indexManifest,
  linksOf,
  openTestSpace,
  type TestSpace,
} from '../../support/space.ts';
import { testFolder } from '../../support/temp.ts';
import { tellNobody, tellTo } from '../../support/told.ts';
import { eventually } from '../../support/wait.ts';
import { contentOf } from '../blobs.contract.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const CONTENT = Buffer.from('what a layer holds');
const DIGEST = digestOf(CONTENT);

describe('what is pulled', () => {
  const setUp = async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const image = await test.addImage({ name: 'image', blobs: [] });
    const pulledAt = (digest: Digest = image.descriptor.digest) =>
      test.index.tables.usage.usedAt('manifest', digest);
    return { test, image, pulledAt };
  };

  it('is noted in memory, and written some time later, once a minute at most', async () => {
    const { test, image, pulledAt } = await setUp();
    const start = test.now;
    test.now += MINUTE;
    test.space.usage.touch(image.descriptor);
    expect(pulledAt()).toBe(start);
    await test.space.usage.flush();
    expect(pulledAt()).toBe(start + MINUTE);
    test.now += MINUTE - 1;
    await test.pull(image);
    expect(pulledAt()).toBe(start + MINUTE);
    test.now += 1;
    await test.pull(image);
    expect(pulledAt()).toBe(start + 2 * MINUTE);
  });

  it('is written when the server stops', async () => {
    const { test, image } = await setUp();
    test.now += DAY;
    test.space.usage.touch(image.descriptor);
    await test.close();
    const index = openIndex(join(test.dataDir, 'index'), { readOnly: true });
    expect(index.tables.usage.usedAt('manifest', image.descriptor.digest)).toBe(test.now);
    await index.close();
  });

  it('touches the stored entries of an index with it', async () => {
    const { test, image, pulledAt } = await setUp();
    const absent = imageManifest('absent', []);
    const list = await test.addIndex({ of: [image, absent] });
    test.now += DAY;
    await test.pull(list);
    expect([pulledAt(), pulledAt(list.descriptor.digest), pulledAt(absent.descriptor.digest)]).toEqual([
      test.now,
      test.now,
      undefined,
    ]);
  });

  it('is told when the index lacks it, so that it can be put there again', async () => {
    const { test } = await setUp();
    const unknown: Digest[] = [];
    const notes = new UsageBuffer({
      tables: test.index.tables,
      now: () => test.now,
      onUnknown: async (digest) => void unknown.push(digest),
      tell: tellNobody,
    });
    onTestFinished(() => notes.close());
    notes.touch({ digest: DIGEST, mediaType: OCI_MANIFEST, size: CONTENT.length });
    notes.touchBlob(digestOf(Buffer.from('a blob')));
    await notes.flush();
    expect(unknown).toEqual([DIGEST]);
  });
});

describe('the sweep', () => {
  const sweep = (
    test: TestSpace,
    more: Partial<SweepOptions> = {},
    indexFailed: Listener['indexFailed'] = ({ error }) => {
      throw error;
    },
  ) => {
    const removed: Digest[] = [];
    const made = new Sweep({
      dataDir: test.dataDir,
      tables: test.index.tables,
      leases: test.space.leases,
      now: () => test.now,
      takeIn: test.takeIn,
      tell: tellTo({ strayFileRemoved: ({ digest }) => removed.push(digest), indexFailed }),
      startAfterMs: 0,
      ...more,
    });
    onTestFinished(() => made.close());
    made.start();
    return { removed };
  };
  const putFile = async (test: TestSpace, digest: Digest, content: Buffer) => {
    await mkdir(dirname(blobPath(test.dataDir, digest)), { recursive: true });
    await writeFile(blobPath(test.dataDir, digest), content);
  };

  it('takes in files that the index does not know, as old as they are, and removes what is not right', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const known = await test.addBlob('known', 10);
    const sha512 = digestOf(CONTENT, 'sha512');
    const [wrong, inUse] = ['wrong', 'in use'].map((text) => digestOf(Buffer.from(text)));
    if (wrong === undefined || inUse === undefined) throw new Error('two digests were made');
    for (const digest of [DIGEST, sha512, wrong, inUse]) await putFile(test, digest, CONTENT);
    const written = new Date(test.now - 3_600_000);
    await utimes(blobPath(test.dataDir, DIGEST), written, written);
    test.space.leases.hold(inUse);
    const { removed } = sweep(test);
    await eventually(() => test.index.blobTotals().blobs === 3, 'two files to be taken in');
    await eventually(() => removed.length > 0, 'a file to be removed');
    expect(removed).toEqual([wrong]);
    expect(await test.files()).toEqual([known, DIGEST, sha512, inUse].sort());
    expect(test.index.tables.usage.usedAt('blob', DIGEST)).toBe(written.getTime());
  });

  it('lets no file that it cannot look at keep it from the others', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const [first, last] = [`sha256:${'00'.repeat(32)}`, `sha256:${'ff'.repeat(32)}`].flatMap(
      (text) => parseDigest(text) ?? [],
    );
    if (first === undefined || last === undefined) throw new Error('two digests were made');
    await mkdir(blobPath(test.dataDir, first), { recursive: true });
    await putFile(test, DIGEST, CONTENT);
    await putFile(test, last, CONTENT);
    const failed: unknown[] = [];
    const takeIn: SweepOptions['takeIn'] = (digest, signal) =>
      digest === DIGEST ? Promise.reject(new Error('the index is full')) : test.takeIn(digest, signal);
    const { removed } = sweep(test, { takeIn }, ({ error }) => failed.push(error));
    await eventually(() => removed.includes(last), 'the last file to be removed');
    expect(failed).toHaveLength(1);
    expect(await test.files()).toEqual([first, DIGEST].sort());
  });

  it('never removes a file that has taken the place of the one that it looked at', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    await putFile(test, DIGEST, Buffer.from('something else'));
    const other = digestOf(Buffer.from('other'));
    await putFile(test, other, CONTENT);
    const { removed } = sweep(test, {
      takeIn: async (digest, signal) => {
        const state = await test.takeIn(digest, signal);
        if (digest === DIGEST) await test.addContent(CONTENT);
        return state;
      },
    });
    await eventually(() => removed.includes(other), 'the other file to be removed');
    await eventually(() => test.index.getBlob(DIGEST), 'the right one to be entered');
    expect(removed).toEqual([other]);
    expect(await test.files()).toEqual([DIGEST]);
  });

  it('leaves a file to whoever asks for it first, by the same rule', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    await putFile(test, DIGEST, CONTENT);
    const blobs = await test.openBlobs();
    const [content] = await Promise.all([contentOf(blobs, DIGEST), Promise.resolve(sweep(test))]);
    expect(content).toEqual(CONTENT);
    const later = digestOf(Buffer.from('later'));
    await putFile(test, later, CONTENT);
    const { removed } = sweep(test);
    await eventually(() => removed.includes(later), 'the other file to be removed');
    expect(await test.files()).toEqual([DIGEST]);
    await blobs.close();
  });

  it('gives a cache its blobs back whose index was lost', async () => {
    const before = await openTestSpace({ blobLimit: 1000 });
    const contents = ['one', 'two', 'three'].map((text) => Buffer.from(text));
    for (const content of contents) await before.addContent(content);
    await before.close();
    const { dataDir } = before;
    await rm(join(dataDir, 'index'), { recursive: true });
    expect(await blobFileBytes(dataDir)).toBeGreaterThan(0);
    const after = await openTestSpace({ blobLimit: 1000, dataDir });
    sweep(after);
    await eventually(() => after.index.blobTotals().blobs === 3, 'all of them to be taken in');
    expect(await after.files()).toHaveLength(3);
  });

  it('forgets links and tags of what never came, and leaves those of what is here', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const blob = { digest: await test.addBlob('blob', 10), size: 10 };
    const image = await test.addImage({ name: 'image', blobs: [blob], tag: 'kept' });
    const links = linksOf(test);
    const other = { host: 'docker.io', name: 'library/other' };
    await test.index.putLinks(APP, new Map([[DIGEST, { by: 'upstream' }]]));
    await test.index.putLinks(other, new Map([[DIGEST, { by: 'upstream' }]]));
    const descriptor = { digest: DIGEST, mediaType: image.descriptor.mediaType, size: 10 };
    await test.index.putTag(APP, 'seen', { descriptor, checkedAt: test.now, confirmedAt: test.now });
    test.now += DAY + 1;
    await test.index.putTag(APP, 'fresh', { descriptor, checkedAt: test.now, confirmedAt: test.now });
    sweep(test);
    await eventually(
      async () => test.index.getTag(APP, 'seen') === undefined,
      'the tag that only a HEAD told of to be forgotten',
    );
    expect(linksOf(test)).toEqual(links);
    expect(await test.index.listTags(APP)).toEqual(['fresh', 'kept']);
    expect(await test.index.listRepositories({ limit: 5 })).toEqual(['docker.io/library/app']);
  });

  it('goes on where the disk refuses a change, and tells of it', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    await test.index.putLinks(APP, new Map([[DIGEST, { by: 'upstream' }]]));
    const descriptor = { digest: DIGEST, mediaType: OCI_MANIFEST, size: 10 };
    await test.index.putTag(APP, 'seen', { descriptor, checkedAt: test.now, confirmedAt: test.now });
    test.now += DAY + 1;
    const refusal = new IndexWriteError('failed', 'the index cannot be written: No space left on device');
    vi.spyOn(test.index.tables.environment, 'write').mockRejectedValueOnce(refusal);
    const errors: unknown[] = [];
    sweep(test, {}, ({ error }) => errors.push(error));
    await eventually(
      async () => test.index.getTag(APP, 'seen') === undefined,
      'the tag to be forgotten after the link could not be',
    );
    expect(errors).toEqual([refusal]);
    expect(linksOf(test)).toHaveLength(1);
  });

  it('forgets that a repository was public of which nothing is here, and never that one is not', async () => {
    const test = await openTestSpace({ blobLimit: 1000 });
    const named = (name: string): Repository => ({ host: 'docker.io', name });
    await test.addImage({ name: 'image', blobs: [], tag: 'kept' });
    await test.index.putRepository(APP, { publicAt: test.now });
    await test.index.putRepository(named('old'), { publicAt: test.now });
    await test.index.putRepository(named('closed'), { publicAt: test.now, restricted: true });
    test.now += DAY + 1;
    await test.index.putRepository(named('fresh'), { publicAt: test.now });
    sweep(test);
    await eventually(
      async () => test.index.getRepository(named('old')) === undefined,
      'the one that nobody has anything of to be forgotten',
    );
    const kept = [APP, named('closed'), named('fresh')];
    for (const each of kept) expect(test.index.getRepository(each)).toBeDefined();
  });
});

describe('an index of layout 1', () => {
  const child = imageManifest('child', [{ digest: DIGEST, size: CONTENT.length }]);
  const list = indexManifest([child]);
  const loose = digestOf(Buffer.from('loose'));

  /** As the first version wrote it. */
  async function layoutOne(): Promise<string> {
    const dataDir = await testFolder();
    await writeFile(join(dataDir, 'version'), '1\n');
    const root = open({ path: join(dataDir, 'index'), maxDbs: 16 });
    const table = (name: string, encoding: 'msgpack' | 'binary' = 'msgpack') =>
      root.openDB({ name, encoding });
    const descriptor = {
      digest: list.descriptor.digest,
      mediaType: list.descriptor.mediaType,
      size: list.bytes.length,
    };
    const repository = 'docker.io/library/app';
    for (const each of [child, list])
      await table('manifests', 'binary').put(each.descriptor.digest, encodeManifest(each));
    for (const digest of [DIGEST, loose]) await table('blobs').put(digest, { size: 10 });
    for (const digest of [child.descriptor.digest, DIGEST]) {
      await table('links').put([repository, digest], { by: 'manifest', size: 10 });
    }
    await table('links').put([repository, list.descriptor.digest], { by: 'upstream', size: 10 });
    await table('tags').put([repository, 'latest'], {
      record: { descriptor, checkedAt: 1, confirmedAt: 1 },
      history: [],
    });
    await table('catalogue').put(repository, true);
    await table('totals').put('blobs', { count: 2, bytes: 20 });
    await table('totals').put('manifests', { count: 2, bytes: child.bytes.length + list.bytes.length });
    await root.close();
    return dataDir;
  }

  it('is taken over: everything is there, with an age, and is evicted as if it had been so always', async () => {
    const dataDir = await layoutOne();
    const lock = await takeDataDir(dataDir);
    expect(await readFile(join(dataDir, 'version'), 'utf8')).toBe('2\n');
    await lock.release();
    const test = await openTestSpace({ blobLimit: 1000, dataDir });
    const { usage, references, links } = test.index.tables;
    expect(usage.coldest(10).map(([at, unit, digest]) => [at, unit, digest])).toEqual(
      [
        [test.now, 'blob', loose],
        [test.now, 'manifest', child.descriptor.digest],
        [test.now, 'manifest', list.descriptor.digest],
      ].sort((a, b) => (String(a) < String(b) ? -1 : 1)),
    );
    expect(references.namersOf(DIGEST)).toEqual([child.descriptor.digest]);
    expect(links.holdersOf(child.descriptor.digest)).toEqual(['docker.io/library/app']);
    test.now += DAY;
    await test.images.remove(APP, { kind: 'tag', tag: 'latest' });
    expect(test.index.blobTotals()).toEqual({ blobs: 1, bytes: 10 });
    expect(linksOf(test)).toEqual([]);
  });

  it('is finished the next time if it was cut off', async () => {
    const dataDir = await layoutOne();
    const path = join(dataDir, 'index');
    const first = openIndex(path);
    const { environment } = first.tables;
    const write = environment.write.bind(environment);
    let writes = 0;
    environment.write = (change, options) => {
      if (++writes === 2) return Promise.reject(new Error('killed'));
      return write(change, options);
    };
    await expect(first.upgrade()).rejects.toThrow('killed');
    await first.close();
    const second = openIndex(path);
    await second.upgrade();
    expect(second.tables.usage.coldest(10)).toHaveLength(3);
    await second.close();
  });
});
