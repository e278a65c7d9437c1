import { describe, expect, it } from 'vitest';
import { parseRegistryPath } from '../../../src/http/registry/path.ts';

describe('the path of a request', () => {
  it('names a ping with and without the last slash', () => {
    expect(parseRegistryPath('/v2/')).toEqual({ kind: 'ping' });
    expect(parseRegistryPath('/v2')).toEqual({ kind: 'ping' });
  });

  it('names manifests, blobs, tags, referrers and the catalogue', () => {
    expect(parseRegistryPath('/v2/library/golang/manifests/1.22')).toEqual({
      kind: 'manifest',
      name: 'library/golang',
      reference: '1.22',
    });
    expect(parseRegistryPath('/v2/a/blobs/sha256:ab')).toEqual({
      kind: 'blob',
      name: 'a',
      digest: 'sha256:ab',
    });
    expect(parseRegistryPath('/v2/a/b/tags/list')).toEqual({ kind: 'tags', name: 'a/b' });
    expect(parseRegistryPath('/v2/a/referrers/sha256:ab')).toEqual({
      kind: 'referrers',
      name: 'a',
      digest: 'sha256:ab',
    });
    expect(parseRegistryPath('/v2/_catalog')).toEqual({ kind: 'catalog' });
  });

  it('takes the last route word when a repository holds one', () => {
    expect(parseRegistryPath('/v2/a/manifests/b/manifests/tag')).toEqual({
      kind: 'manifest',
      name: 'a/manifests/b',
      reference: 'tag',
    });
    expect(parseRegistryPath('/v2/a/blobs/b/tags/list')).toEqual({ kind: 'tags', name: 'a/blobs/b' });
  });

  it('takes a digest with an encoded colon', () => {
    expect(parseRegistryPath('/v2/a/blobs/sha256%3Aab')).toEqual({
      kind: 'blob',
      name: 'a',
      digest: 'sha256:ab',
    });
  });

  it('never turns an encoded slash into a separator, nor follows dots', () => {
    expect(parseRegistryPath('/v2/a%2fb/manifests/c')).toEqual({ kind: 'unknown' });
    expect(parseRegistryPath('/v2/a/manifests/..%2f..%2fetc')).toEqual({ kind: 'unknown' });
    expect(parseRegistryPath('/v2/a/../b/manifests/c')).toEqual({
      kind: 'manifest',
      name: 'a/../b',
      reference: 'c',
    });
    expect(parseRegistryPath('/v2/%2e%2e/manifests/c')).toEqual({
      kind: 'manifest',
      name: '..',
      reference: 'c',
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
    expect(parseRegistryPath(path)).toEqual({ kind: 'unknown' });
  });
});
