import { describe, expect, it } from 'vitest';
import { parseManifest } from '../../src/oci/manifest.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { countReferrers, filterReferrers, referrersIn, withReferrers } from '../../src/oci/referrers.ts';

const entry = (artifactType: string, more = {}) => ({
  digest: `sha256:${'a'.repeat(64)}`,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  size: 100,
  artifactType,
  ...more,
});

function index(manifests: unknown): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}

describe('a list of referrers', () => {
  it.each([
    ['null', null],
    ['missing', undefined],
  ])('is empty if its manifests are %s', (_, manifests) => {
    const bytes = index(manifests);
    expect(countReferrers(bytes)).toBe(0);
    expect(referrersIn(bytes)).toEqual([]);
    expect(filterReferrers(bytes, ['a/b'])).toEqual(bytes);
    const [added] = referrersIn(index([entry('a/b')]));
    expect(JSON.parse(withReferrers(bytes, added === undefined ? [] : [added]).toString())).toEqual({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [entry('a/b')],
    });
  });

  it('keeps the entries of a type, and every other word of the index', () => {
    const bytes = Buffer.from(
      `{ "manifests" : [ ${JSON.stringify(entry('a/b'))} , ${JSON.stringify(entry('c/d'))} ] , "schemaVersion":2, "x":1 }`,
    );
    expect(filterReferrers(bytes, ['c/d']).toString()).toBe(
      `{ "manifests" : [${JSON.stringify(entry('c/d'))}] , "schemaVersion":2, "x":1 }`,
    );
  });

  it('can be taken apart if it can be parsed, however much it holds', () => {
    const full = index(Array.from({ length: 11_900 }, () => entry('a/b', { x: Array(10).fill(1) })));
    expect(parseManifest(full, OCI_INDEX).content.kind).toBe('index');
    expect(referrersIn(full)).toHaveLength(11_900);
  });
});
