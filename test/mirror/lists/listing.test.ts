import { describe, expect, it } from 'vitest';
import type { RepositoryAccess } from '../../../src/mirror/access/access.ts';
import { Listing } from '../../../src/mirror/lists/listing.ts';
import type { Catalog } from '../../../src/store/manifests.ts';
import type { Outcome, TagList, Upstream } from '../../../src/upstream/upstream.ts';
import { APP } from '../../support/space.ts';

const TAGS = ['a', 'b', 'c', 'd'];
const AWAY = { kind: 'unavailable', cause: 'unreachable', reason: 'no connection' } as const;

/** A page of the four tags, which are in the cache; upstream gives `outcome` whatever page it is asked for. */
function tags(outcome: Outcome<TagList>, query: { readonly n?: string; readonly last?: string }) {
  const listing = new Listing({
    catalog: { listTags: () => Promise.resolve(TAGS) } as unknown as Catalog,
    access: {
      admit: () => undefined,
      scope: { tags: (_: unknown, all: readonly string[]) => all },
    } as unknown as RepositoryAccess,
    upstreams: new Map(),
  });
  const upstream = { listTags: () => Promise.resolve(outcome) } as unknown as Upstream;
  return listing.tags(upstream, APP, query);
}

describe.each([
  ['the tags in the cache, with an unreachable upstream', AWAY],
  ['the tags of an upstream that ignores n and last', { kind: 'ok', value: { tags: TAGS } } as const],
])('%s', (_, outcome) => {
  it.each([
    [{}, TAGS, undefined],
    [{ last: 'b' }, ['c', 'd'], undefined],
    [{ last: 'd' }, [], undefined],
    [{ n: '2' }, ['a', 'b'], { n: '2', last: 'b' }],
    [{ n: '1', last: 'b' }, ['c'], { n: '1', last: 'c' }],
    [{ n: '2', last: 'b' }, ['c', 'd'], undefined],
    [{ n: '4' }, TAGS, undefined],
    [{ n: '0' }, [], undefined],
  ])('for the page %j are %j', async (query, expected, next) => {
    const page = await tags(outcome, query);
    expect(page.tags).toEqual(expected);
    expect(page.next).toEqual(next);
  });
});

it('the tags in the cache begin after `last`, even if the cache lacks this tag', async () => {
  expect((await tags(AWAY, { last: 'bb' })).tags).toEqual(['c', 'd']);
});

it('an empty page has no next one, though upstream is asked for one tag and names the next page', async () => {
  const outcome = { kind: 'ok', value: { tags: ['a'], next: { n: '1', last: 'a' } } } as const;
  expect(await tags(outcome, { n: '0' })).toEqual({ tags: [], cache: 'bypass' });
});
