import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { manifestOf } from '../../../src/oci/manifest.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { inspectIndex } from '../../../src/store/index/inspection.ts';
import { openIndex } from '../../../src/store/manifest/lmdb.ts';
import { fuzz, FUZZ_TIMEOUT_MS } from '../../support/fuzz.ts';
import { fillIndex, indexFile, PAGE_BYTES } from '../../support/raw-index.ts';
import { testFolder } from '../../support/temp.ts';

/**
 * Takes damaged copies of an index one after the other as a start does, and goes over all that they then hold: what LMDB
 * must not see ends this process.
 */
const USER = `
  import { copyFile, mkdir, open, rm, truncate } from 'node:fs/promises';
  import { join } from 'node:path';
  const [modules, template, folder] = process.argv.slice(2);
  const { inspectIndex, setDamagedAside } = await import(modules + 'store/index/inspection.js');
  const { openIndex } = await import(modules + 'store/manifest/lmdb.js');
  const { digestOf } = await import(modules + 'oci/digest.js');

  const { manifestOf } = await import(modules + 'oci/manifest.js');

  // LMDB may refuse a damaged index: only its errors are collected, all others fail the test.
  let refused;
  const attempt = async (work) => {
    try { return await work(); }
    catch (error) {
      if (error?.name !== 'IndexWriteError' && typeof error?.code !== 'number') throw error;
      refused.push(String(error));
    }
  };
  async function readAll({ manifests, blobs, tags, links, usage }) {
    for (const each of (await attempt(() => manifests.page(10000))) ?? []) await attempt(() => manifests.content(each));
    for (const each of (await attempt(() => blobs.page(10000))) ?? []) await attempt(() => blobs.size(each));
    for (const each of (await attempt(() => tags.page(10000))) ?? []) await attempt(() => tags.get(each));
    for (const each of (await attempt(() => links.page(10000))) ?? []) await attempt(() => links.get(...each));
    await attempt(() => usage.coldest(10000));
  }
  async function change({ environment, manifests, blobs }, step) {
    await attempt(() => environment.write(() => {
      for (let each = 0; each < 40; each++) {
        const bytes = Buffer.from(JSON.stringify({ step, each, pad: 'x'.repeat(each * 300) }));
        manifests.put(manifestOf({ digest: digestOf(bytes), mediaType: 'application/json', bytes }), step);
        blobs.put(digestOf(Buffer.from(step + '/' + each)), each, step);
      }
    }));
    await attempt(() => environment.write(() => { for (const each of manifests.page(30)) manifests.remove(each); }));
    await attempt(() => environment.write(() => { for (const each of blobs.page(30)) blobs.remove(each); }));
  }
  async function use({ end, patches }) {
    refused = [];
    const path = join(folder, 'index');
    await rm(folder, { recursive: true, force: true });
    await mkdir(path, { recursive: true });
    await copyFile(template, join(path, 'data.mdb'));
    if (end !== undefined) await truncate(join(path, 'data.mdb'), end);
    const file = await open(join(path, 'data.mdb'), 'r+');
    for (const [at, value] of patches) await file.write(Buffer.from([value]), 0, 1, at);
    await file.close();
    await setDamagedAside(path, 0);
    const index = openIndex(path);
    await attempt(() => index.upgrade());
    await readAll(index.tables);
    for (const step of [1, 2, 3]) await change(index.tables, step);
    await readAll(index.tables);
    await index.close();
    return { refused, left: (index.problem === undefined && (await inspectIndex(path, 'owner'))) || 'nothing' };
  }
  process.on('message', async (damage) => {
    process.send(await use(damage).catch((error) => ({ left: error.stack })));
  });
`;

it(
  'an index is sound after any work',
  async () => {
    const change = fc.record({
      put: fc.array(fc.tuple(fc.nat(400), fc.oneof(fc.nat(1500), fc.nat(40_000))), { maxLength: 60 }),
      remove: fc.nat(60),
      link: fc.array(fc.tuple(fc.nat(50), fc.nat(400)), { maxLength: 60 }),
    });
    const work = fc.array(fc.array(change, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(work, async (sessions) => {
        const path = join(await testFolder(), 'index');
        for (const changes of sessions) {
          const index = openIndex(path);
          const { environment, manifests, links } = index.tables;
          for (const { put, remove, link } of changes) {
            await environment.write(() => {
              for (const [number, length] of put) {
                const digest = digestOf(Buffer.from(`${number}`));
                manifests.put(
                  manifestOf({ digest, mediaType: OCI_MANIFEST, bytes: Buffer.alloc(length) }),
                  number,
                );
              }
              for (const digest of manifests.page(remove)) manifests.remove(digest);
              for (const [name, number] of link) {
                links.put(`docker.io/library/${name}`, digestOf(Buffer.from(`${number}`)), {
                  by: 'upstream',
                });
              }
            });
            expect(await inspectIndex(path, 'reader')).toBeUndefined();
          }
          await index.close();
          expect(await inspectIndex(path, 'owner')).toBeUndefined();
        }
      }),
      fuzz(15),
    );
  },
  FUZZ_TIMEOUT_MS,
);

it(
  'an index that is damaged anywhere is set aside or used, and never ends the process',
  async () => {
    const dataDir = await testFolder();
    await fillIndex(dataDir);
    const template = indexFile(dataDir);
    const { length } = await readFile(template);
    const pages = length / PAGE_BYTES;
    const script = join(await testFolder(), 'user.mjs');
    await writeFile(script, USER);
    const modules = new URL('../../../dist/', import.meta.url).href;
    const child = fork(script, [modules, template, join(await testFolder(), 'copy')], { stdio: 'ignore' });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const gone = once(child, 'exit');
    const use = async (end: number | undefined, patches: readonly (readonly number[])[]): Promise<object> => {
      const answered = once(child, 'message');
      child.send({ end, patches: patches.filter(([at = 0]) => at < (end ?? length)) });
      const [answer] = (await Promise.race([answered, gone])) as [object];
      expect(child.signalCode, 'the process ended').toBeNull();
      return answer;
    };
    // Shows that the child reads and changes an index.
    expect(await use(undefined, [])).toEqual({ left: 'nothing', refused: [] });
    // Where a page, a node or a meta page begins most is decided, and everywhere else.
    const offset = fc.oneof(
      fc.nat(23),
      fc.integer({ min: 24, max: 170 }),
      fc.nat(PAGE_BYTES - 1),
      fc.integer({ min: PAGE_BYTES / 2, max: PAGE_BYTES / 2 + 170 }),
    );
    const page = fc.oneof({ weight: 1, arbitrary: fc.nat(1) }, { weight: 4, arbitrary: fc.nat(pages - 1) });
    const patch = fc.tuple(page, offset, fc.nat(255)).map(([at, by, value]) => [at * PAGE_BYTES + by, value]);
    const end = fc.oneof(
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.nat(pages).map((whole) => whole * PAGE_BYTES) },
      { weight: 1, arbitrary: fc.nat(length) },
    );
    await fc.assert(
      fc.asyncProperty(end, fc.array(patch, { minLength: 1, maxLength: 3 }), async (cut, patches) => {
        // What is damaged after it has been used was not seen, or was made worse.
        expect(await use(cut, patches)).toMatchObject({ left: 'nothing' });
      }),
      { ...fuzz(60), endOnFailure: true },
    );
  },
  FUZZ_TIMEOUT_MS,
);
