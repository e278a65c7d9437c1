import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accepts } from '../../src/oci/media-types.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { ManifestInvalidError, parseManifest } from '../../src/oci/manifest.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { parseRange } from '../../src/oci/range.ts';
import {
  isRepositoryName,
  parseReference,
  parseRepositoryKey,
  repositoryKey,
} from '../../src/oci/reference.ts';
import { routeOf } from '../support/registry-routes.ts';

const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
const name = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,40}$/);

describe('parsers', () => {
  it('read back every well-formed path', () => {
    fc.assert(
      fc.property(name, tag, (repository, reference) => {
        expect(isRepositoryName(repository)).toBe(true);
        expect(routeOf(`/v2/${repository}/manifests/${reference}`)).toEqual({
          kind: 'manifest',
          params: { name: repository, reference },
        });
        expect(parseReference(reference)).toEqual({ kind: 'tag', tag: reference });
      }),
    );
  });

  it('take any text without throwing', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.string().map((rest) => `/v2/${rest}`),
    );
    fc.assert(
      fc.property(text, (input) => {
        routeOf(input);
        parseReference(input);
        parseDigest(input);
        parsePlatform(input);
        accepts(input, OCI_INDEX);
        parseRange(input, 1000);
        parseRange(`bytes=${input}`, 1000);
      }),
      { numRuns: 5000 },
    );
  });

  it('never let a name through that the grammar does not know', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom('..', '%2e', '\0', '//', 'A', ' '), (text, bad) => {
        expect(isRepositoryName(`${text}/${bad}/${text}`)).toBe(false);
      }),
    );
  });

  it('find ranges that lie within the body', () => {
    const header = fc
      .array(fc.tuple(fc.option(fc.nat(3000)), fc.option(fc.nat(3000))), { minLength: 1, maxLength: 18 })
      .map((specs) => `bytes=${specs.map(([a, b]) => `${a ?? ''}-${b ?? ''}`).join(',')}`);
    fc.assert(
      fc.property(header, fc.nat(2500), (text, size) => {
        const parsed = parseRange(text, size);
        if (parsed.kind !== 'ranges') return;
        for (const { start, end } of parsed.ranges) {
          expect(start).toBeGreaterThanOrEqual(0);
          expect(end).toBeGreaterThan(start);
          expect(end).toBeLessThanOrEqual(size);
        }
      }),
    );
  });

  it('refuse every document that is no manifest by one error only', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (document, contentType) => {
        try {
          parseManifest(Buffer.from(JSON.stringify(document)), contentType);
        } catch (error) {
          expect(error).toBeInstanceOf(ManifestInvalidError);
        }
      }),
    );
  });

  it('keep the key of a repository reversible', () => {
    fc.assert(
      fc.property(component, name, (host, path) => {
        expect(parseRepositoryKey(repositoryKey({ host, name: path }))).toEqual({ host, name: path });
      }),
    );
  });
});
