import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManifestInvalidError, parseManifest } from '../../src/oci/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts';
import { platformsThatRunOn } from '../../src/oci/platform-order.ts';
import { fittingEntries, orderFor } from '../../src/oci/platform-order.ts';
import { formatPlatform, normalizePlatform, parsePlatform, type Platform } from '../../src/oci/platform.ts';
import { platformOfUserAgent } from '../../src/mirror/manifest/clients.ts';

const ARCHITECTURES = ['amd64', 'x86_64', 'arm64', 'aarch64', 'arm', 'armhf', '386', 's390x', 'riscv64'];
const VARIANTS = ['', 'v1', 'v2', 'v3', '5', 'v6', 'v7', 'v8', 'v8.2', '9.0', 'v9', 'v9.3', 'v9.9', 'x'];
const VERSIONS = ['', '10.0.17763', '10.0.20348.1', '10.0.20348.3091', '10.0.22621', '10.0.26100.3000', 'x'];
const FEATURES = ['gpu', 'simd', 'win32k', 'a+b', '100%'];

const known = fc.record({
  os: fc.constantFrom('linux', 'Linux', 'windows', 'macOS', 'freebsd'),
  architecture: fc.constantFrom(...ARCHITECTURES),
  variant: fc.constantFrom(...VARIANTS),
  osVersion: fc.constantFrom(...VERSIONS),
  osFeatures: fc.subarray(FEATURES),
});
/** What an index can hold: anything. */
const absurd = fc.record({
  os: fc.oneof(fc.constantFrom('linux', 'unknown', ''), fc.string()),
  architecture: fc.oneof(fc.constantFrom('amd64', 'unknown', ''), fc.string()),
  variant: fc.oneof(fc.constantFrom('v8', 'v99999999999', 'v-1', '__proto__'), fc.string()),
  osVersion: fc.string(),
  osFeatures: fc.array(fc.string()),
});
const stated = fc.oneof({ weight: 4, arbitrary: known }, { weight: 1, arbitrary: absurd });

/** Whether nothing at all is known to run on it, as on arm64/v9.9. */
const isNobodys = (platform: Platform): boolean => platformsThatRunOn(platform).length === 0;

describe('platforms', () => {
  it('are normalised once and for all', () => {
    fc.assert(
      fc.property(stated, (platform) => {
        const once = normalizePlatform(platform);
        expect(normalizePlatform(once)).toEqual(once);
      }),
    );
  });

  it('are read back from what they are written as', () => {
    fc.assert(
      fc.property(known, (platform) => {
        const text = formatPlatform(normalizePlatform(platform));
        const read = parsePlatform(text);
        expect(read).toBeDefined();
        if (read === undefined) return;
        expect(normalizePlatform(read)).toEqual(normalizePlatform(platform));
      }),
    );
  });

  it('match themselves, and nothing goes before that but more features or a newer Windows', () => {
    fc.assert(
      fc.property(known, known, (platform, other) => {
        fc.pre(!isNobodys(platform));
        const order = orderFor(platform);
        // A version that is none is one that fits nothing but what has none.
        if (normalizePlatform(platform).os !== 'windows') expect(order.matches(platform)).toBe(true);
        const isBefore = order.compare(other, platform) < 0;
        if (isBefore && normalizePlatform(platform).os !== 'windows') expect(order.matches(other)).toBe(true);
      }),
    );
  });

  it('match themselves on Windows too, if their version is one or missing', () => {
    const versions = fc.constantFrom('', '10.0.17763', '10.0.20348.1', '10.0.22621', '10.0.26100.3000');
    fc.assert(
      fc.property(versions, fc.subarray(FEATURES), (osVersion, osFeatures) => {
        const platform = { os: 'windows', architecture: 'amd64', osVersion, osFeatures };
        expect(orderFor(platform).matches(platform)).toBe(true);
      }),
    );
  });

  it('are in one order: equal to themselves, the same from both sides, and without a circle', () => {
    fc.assert(
      fc.property(stated, stated, stated, stated, (wanted, a, b, c) => {
        const order = orderFor(wanted);
        const sign = (x: Platform, y: Platform): number => Math.sign(order.compare(x, y));
        expect(sign(a, a)).toBe(0);
        expect(sign(a, b) + sign(b, a)).toBe(0);
        if (sign(a, b) <= 0 && sign(b, c) <= 0) expect(sign(a, c)).toBeLessThanOrEqual(0);
        if (order.matches(a) && !order.matches(b)) expect(sign(a, b)).toBe(-1);
      }),
      { numRuns: 2000 },
    );
  });

  it('fit best first, and all that fit and nothing else, equals in their order', () => {
    fc.assert(
      fc.property(known, fc.array(fc.option(stated, { nil: undefined })), (wanted, platforms) => {
        const entries = platforms.map((platform, id) => (platform === undefined ? { id } : { id, platform }));
        const order = orderFor(wanted);
        const fitting = fittingEntries(wanted, entries);
        const rated = fitting.flatMap(({ id, platform }) =>
          platform === undefined ? [] : [{ id, platform }],
        );
        for (const [at, { id, platform }] of rated.entries()) {
          expect(order.matches(platform)).toBe(true);
          const next = rated[at + 1];
          if (next === undefined) continue;
          const step = order.compare(platform, next.platform);
          expect(step < 0 || (step === 0 && id < next.id)).toBe(true);
        }
        const bare = entries.filter(({ platform }) => platform === undefined).map(({ id }) => id);
        expect(fitting.slice(rated.length).map(({ id }) => id)).toEqual(bare);
        const expected = entries.filter(
          ({ platform }) =>
            platform !== undefined &&
            order.matches(platform) &&
            platform.os !== 'unknown' &&
            platform.architecture !== 'unknown',
        );
        expect(rated).toHaveLength(expected.length);
      }),
    );
  });

  it('take any text without throwing', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.stringMatching(/^[a-z]{0,3}\(?[+%0-9a-f]{0,9}\)?\/[a-z0-9.]{0,5}(\/v?[0-9.]{0,4})?$/),
    );
    fc.assert(
      fc.property(text, known, (input, machine) => {
        const platform = parsePlatform(input);
        platformOfUserAgent(`docker/28 os/${input} arch/${input}`);
        if (platform === undefined) return;
        expect(orderFor(machine).compare(platform, platform)).toBe(0);
        orderFor(platform).matches(machine);
        expect(parsePlatform(formatPlatform(platform))).toEqual({
          ...platform,
          ...(platform.osFeatures === undefined
            ? {}
            : { osFeatures: [...new Set(platform.osFeatures)].sort() }),
        });
      }),
      { numRuns: 5000 },
    );
  });

  it('of an index are read whatever they are, or the index is refused by one error', () => {
    const entry = fc.record(
      {
        digest: fc.constant(`sha256:${'a'.repeat(64)}`),
        size: fc.oneof(fc.nat(), fc.jsonValue()),
        mediaType: fc.oneof(fc.constant(OCI_MANIFEST), fc.jsonValue()),
        platform: fc.oneof(stated, fc.jsonValue()),
        annotations: fc.jsonValue(),
      },
      { requiredKeys: ['digest', 'size'] },
    );
    fc.assert(
      fc.property(fc.array(entry), known, (manifests, wanted) => {
        const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
        try {
          const { content } = parseManifest(bytes, OCI_INDEX);
          if (content.kind === 'index') fittingEntries(wanted, content.entries);
        } catch (error) {
          expect(error).toBeInstanceOf(ManifestInvalidError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
