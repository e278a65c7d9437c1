import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accepts } from '../../src/oci/accept.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { ManifestInvalidError, parseManifest } from '../../src/oci/manifest.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';
import { parseRegistryPath } from '../../src/oci/path.ts';
import { bestMatch, compatiblePlatforms, formatPlatform, parsePlatform } from '../../src/oci/platform.ts';
import { parseRange } from '../../src/oci/range.ts';
import {
  isRepositoryName,
  parseReference,
  parseRepositoryKey,
  repositoryKey,
} from '../../src/oci/reference.ts';

const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/);
const name = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,40}$/);

describe('parsers', () => {
  it('read back every well-formed path', () => {
    fc.assert(
      fc.property(name, tag, (repository, reference) => {
        expect(isRepositoryName(repository)).toBe(true);
        expect(parseRegistryPath(`/v2/${repository}/manifests/${reference}`)).toEqual({
          kind: 'manifest',
          name: repository,
          reference,
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
        parseRegistryPath(input);
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

describe('platforms', () => {
  const known = fc
    .tuple(
      fc.constantFrom('linux', 'windows', 'darwin', 'freebsd'),
      fc.constantFrom('amd64', 'arm64', 'arm', '386', 's390x', 'riscv64'),
      fc.constantFrom(undefined, 'v1', 'v2', 'v3', 'v5', 'v6', 'v7', 'v8', 'v8.2', 'v9', 'v9.3'),
    )
    .map((parts) => parsePlatform(parts.filter(Boolean).join('/')))
    .filter((platform) => platform !== undefined);

  it('are compatible with themselves first, unless their variant is unknown', () => {
    fc.assert(
      fc.property(known, (platform) => {
        const [first] = compatiblePlatforms(platform);
        if (first !== undefined) expect(formatPlatform(first)).toBe(formatPlatform(platform));
      }),
    );
  });

  it('match best first: no entry before the match in the order is in the index', () => {
    fc.assert(
      fc.property(known, fc.array(known), (wanted, platforms) => {
        const entries = platforms.map((platform) => ({ platform }));
        const order = compatiblePlatforms(wanted).map(formatPlatform);
        const match = bestMatch(wanted, entries);
        const ranks = platforms
          .map((platform) => order.indexOf(formatPlatform(platform)))
          .filter((rank) => rank >= 0);
        if (match === undefined) expect(ranks).toEqual([]);
        else expect(order.indexOf(formatPlatform(match.platform))).toBe(Math.min(...ranks));
      }),
    );
  });
});
