import { describe, expect, it } from 'vitest';
import { routeOf } from '../../support/registry-routes.ts';

describe('the path of a request', () => {
  it('names a ping with and without the last slash', () => {
    expect(routeOf('/v2/')).toEqual({ kind: 'ping', params: {} });
    expect(routeOf('/v2')).toEqual({ kind: 'ping', params: {} });
  });

  it('names manifests, blobs, tags, referrers and the catalogue', () => {
    expect(routeOf('/v2/library/golang/manifests/1.22')).toEqual({
      kind: 'manifest',
      params: { name: 'library/golang', reference: '1.22' },
    });
    expect(routeOf('/v2/a/blobs/sha256:ab')).toEqual({
      kind: 'blob',
      params: { name: 'a', digest: 'sha256:ab' },
    });
    expect(routeOf('/v2/a/b/tags/list')).toEqual({ kind: 'tags', params: { name: 'a/b' } });
    expect(routeOf('/v2/a/referrers/sha256:ab')).toEqual({
      kind: 'referrers',
      params: { name: 'a', digest: 'sha256:ab' },
    });
    expect(routeOf('/v2/_catalog')).toEqual({ kind: 'catalog', params: { name: '_catalog' } });
  });

  it('takes the last route word when a repository holds one', () => {
    expect(routeOf('/v2/a/manifests/b/manifests/tag')).toEqual({
      kind: 'manifest',
      params: { name: 'a/manifests/b', reference: 'tag' },
    });
    expect(routeOf('/v2/a/blobs/b/tags/list')).toEqual({ kind: 'tags', params: { name: 'a/blobs/b' } });
  });

  it('takes a digest with an encoded colon', () => {
    expect(routeOf('/v2/a/blobs/sha256%3Aab')).toEqual({
      kind: 'blob',
      params: { name: 'a', digest: 'sha256:ab' },
    });
  });

  it('never turns an encoded slash into a separator, nor follows dots', () => {
    expect(routeOf('/v2/a%2fb/manifests/c')).toMatchObject({ kind: 'other' });
    expect(routeOf('/v2/a/manifests/..%2f..%2fetc')).toMatchObject({ kind: 'other' });
    expect(routeOf('/v2/a/../b/manifests/c')).toEqual({
      kind: 'manifest',
      params: { name: 'a/../b', reference: 'c' },
    });
    expect(routeOf('/v2/%2e%2e/manifests/c')).toEqual({
      kind: 'manifest',
      params: { name: '..', reference: 'c' },
    });
  });

  it.each([
    '',
    '/',
    '/v1/',
    '/v2/a',
    '/v2/manifests/x',
    '/v2/a/manifests/',
    '/v2/a/blobs/uploads/',
    '/v2/a/tags/other',
    '/v2/%/manifests/x',
    '/v2//manifests/x',
  ])('does not know %j', (path) => {
    expect(routeOf(path)).toMatchObject({ kind: 'other' });
  });
});
