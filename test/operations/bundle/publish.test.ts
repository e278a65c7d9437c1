import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BundledUnit, ReadManifest } from '../../../src/bundle/images.ts';
import { RepositoryAccess } from '../../../src/mirror/access/access.ts';
import { PullRules, TagScope } from '../../../src/mirror/access/rules.ts';
import { NegativeCache } from '../../../src/mirror/answer/negative-cache.ts';
import { Referrers } from '../../../src/mirror/lists/referrers.ts';
import { manifestOf, parseManifest } from '../../../src/oci/manifest.ts';
import { BundlePublisher } from '../../../src/operations/bundle/publish.ts';
import { createReferrersStore, openIndex, type Index } from '../../../src/store/manifest/lmdb.ts';
import type { ManifestStore } from '../../../src/store/manifests.ts';
import type { StoredManifest } from '../../fake/library.ts';
import { GOLANG } from '../../support/filled-hub.ts';
import { testFolder } from '../../support/temp.ts';
import { tellNobody } from '../../support/told.ts';

const repository = { host: 'docker.io', name: 'library/golang' };
const TAG = '1.22';

function read(stored: StoredManifest): ReadManifest {
  const { content } = parseManifest(stored.bytes, stored.mediaType);
  return { ...manifestOf(stored), content, foreign: [] };
}

function unitOf(): BundledUnit {
  const manifests = GOLANG.image.manifests.map(read);
  const root = read(GOLANG.image.root);
  return {
    kind: 'image',
    repository,
    name: { repository, reference: { kind: 'tag', tag: TAG } },
    root,
    manifests,
  };
}

/** A store that is cut off before its change number `at`, as a process that is killed there cuts it off. */
function cutOff(store: ManifestStore, at: number): ManifestStore {
  let changes = 0;
  const change = <A extends unknown[]>(make: (...given: A) => Promise<void>) => {
    return async (...given: A): Promise<void> => {
      if (changes++ >= at) throw new Error('killed');
      return make(...given);
    };
  };
  return {
    getManifest: (digest) => store.getManifest(digest),
    putManifest: change((manifest) => store.putManifest(manifest)),
    getTag: (of, tag) => store.getTag(of, tag),
    putTag: change((of, tag, record) => store.putTag(of, tag, record)),
    deleteTag: (of, tag) => store.deleteTag(of, tag),
    getLink: (of, digest) => store.getLink(of, digest),
    putLinks: change((of, links) => store.putLinks(of, links)),
    isOffered: (of, digest) => store.isOffered(of, digest),
    putOffers: change((of, digests) => store.putOffers(of, digests)),
    getRepository: (of) => store.getRepository(of),
    putRepository: change((of, record) => store.putRepository(of, record)),
    close: () => store.close(),
  };
}

function publisherOn(index: Index, store: ManifestStore): BundlePublisher {
  const scope = new TagScope(new PullRules({}), store);
  const access = new RepositoryAccess({ store, scope, privatePatterns: new Map(), now: Date.now });
  const negative = new NegativeCache(10_000);
  const lists = createReferrersStore({ tables: index.tables, tell: tellNobody, hasRoom: () => true });
  const referrers = new Referrers({
    store: lists,
    tags: store,
    access,
    negative,
    ttlMs: 1000,
    now: Date.now,
  });
  const usage = { touch: () => undefined };
  return new BundlePublisher({ store, durable: index, access, negative, referrers, usage, now: Date.now });
}

/** How many of the unit's manifests a client could get by digest. */
async function visible(index: Index): Promise<number> {
  const all = await Promise.all(
    GOLANG.image.manifests.map(async ({ digest }) => {
      const isThere = index.getManifest(digest) !== undefined;
      return isThere && index.getLink(repository, digest) !== undefined;
    }),
  );
  return all.filter(Boolean).length;
}

describe('an image of a bundle', () => {
  it('is visible whole or not at all, wherever the process ends, and the next attempt completes it', async () => {
    const unit = unitOf();
    const total = unit.manifests.length;
    const seen = new Set<string>();
    for (let at = 0; ; at++) {
      const index = openIndex(join(await testFolder(), 'index'));
      await index.upgrade();
      const failure = await publisherOn(index, cutOff(index, at)).publish(unit).catch(String);
      const count = await visible(index);
      const tag = index.getTag(repository, TAG);
      expect([0, total]).toContain(count);
      if (tag !== undefined) expect(count).toBe(total);
      seen.add(`${count} ${tag === undefined ? 'untagged' : 'tagged'}`);
      await publisherOn(index, index).publish(unit);
      expect(await visible(index)).toBe(total);
      expect(index.getTag(repository, TAG)?.descriptor.digest).toBe(
        unit.kind === 'image' && unit.root.descriptor.digest,
      );
      await index.close();
      if (failure === undefined) break;
      expect(failure).toBe('Error: killed');
    }
    expect([...seen]).toEqual(['0 untagged', `${total} untagged`, `${total} tagged`]);
  });
});
